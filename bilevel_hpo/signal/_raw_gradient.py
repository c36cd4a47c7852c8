"""The chain rule of a constraint at each λ of a training: from the hypergradient in λ to the gradient in raw."""

import torch
from torch import Tensor, nn

from bilevel_hpo.constraints import Constraint
from bilevel_hpo.weights import TransferRatios, WeightsDict

__all__ = ["bounds", "knows", "raw_gradient"]


def knows(weights: nn.Module) -> bool:
    """Whether `raw_gradient` supports `weights`: a `WeightsDict`, or `raw` and `constraint` as in `LossWeights`."""
    if isinstance(weights, WeightsDict):
        return all(knows(module) for module in weights.values())
    raw = getattr(weights, "raw", None)
    return isinstance(raw, nn.Parameter) and isinstance(getattr(weights, "constraint", None), Constraint)


def raw_gradient(weights: nn.Module, lambda_: Tensor, g: Tensor) -> Tensor:
    """Maps (λ, dL/dλ) to dL/d raw, row by row: vector-Jacobian products of `weights` at earlier values of λ.

    Under `Budget(total)` it is λ_k (g_k − Σ_j λ_j g_j / total): the common part of all λ of a budget is removed,
    because the budget forbids that move.

    Args:
        weights: `LossWeights`, `TransferRatios`, a `WeightsDict` of them, or a module like them: one parameter `raw` of
            λ's shape, and a `constraint`.
        lambda_: rows of λ `[n, N]`, flattened as in `learner.history`.
        g: rows of dL/dλ `[n, N]`.

    Returns:
        `[n, N]` in float64. An entry that is not learned is 0; with `symmetric=True` the pair's sum is at the
        upper one.

    Raises:
        TypeError: `weights` has another type.
        ValueError: λ has another number of entries, or lies outside the constraint.
    """
    if not knows(weights):
        raise TypeError(
            f"weights is {type(weights).__name__}; it must be LossWeights, TransferRatios, a WeightsDict of them, "
            "or a module with `raw` and `constraint`"
        )
    modules = list(weights.values()) if isinstance(weights, WeightsDict) else [weights]
    sizes = [_raw(module).numel() for module in modules]
    if lambda_.shape != g.shape or lambda_.shape[-1] != sum(sizes):
        raise ValueError(
            f"λ {tuple(lambda_.shape)} and g {tuple(g.shape)} must both have the {sum(sizes)} columns of `weights`"
        )
    split = zip(modules, torch.split(lambda_, sizes, -1), torch.split(g, sizes, -1), strict=True)
    return torch.cat([_of_module(module, *parts) for module, *parts in split], -1)


def bounds(weights: nn.Module) -> tuple[Tensor, Tensor]:
    """Returns the lowest and highest value of each λ `[N]`; −∞ and ∞ if the constraint has no `low` and `high`."""
    modules = list(weights.values()) if isinstance(weights, WeightsDict) else [weights]
    ends = []
    for end, nothing in (("low", -torch.inf), ("high", torch.inf)):
        values = [float(getattr(module.constraint, end, nothing)) for module in modules]
        sizes = [_raw(module).numel() for module in modules]
        ends.append(torch.tensor(values, dtype=torch.float64).repeat_interleave(torch.tensor(sizes)))
    return ends[0], ends[1]


def _raw(module: nn.Module) -> nn.Parameter:
    raw = module.raw
    assert isinstance(raw, nn.Parameter)
    return raw


def _of_module(module: nn.Module, lambda_: Tensor, g: Tensor) -> Tensor:
    """Returns `raw_gradient` of one module, `[n, N]`."""
    shape = _raw(module).shape
    rows = []
    for point, slope in zip(lambda_, g, strict=True):
        raw = _inverse(module, point.view(shape)).requires_grad_()
        value = torch.func.functional_call(module, {"raw": raw}, ())
        rows.append(torch.autograd.grad(value, raw, slope.view(shape).to(value))[0].reshape(-1))
    return torch.stack(rows)


def _inverse(module: nn.Module, lambda_: Tensor) -> Tensor:
    """Returns the raw values of one λ, in float64."""
    constraint = module.constraint
    assert isinstance(constraint, Constraint)
    if isinstance(module, TransferRatios) and module.diagonal == "fixed":  # a constant that no constraint applies to
        lambda_ = torch.where(module.direct.cpu(), constraint.forward(module.raw.detach()).to(lambda_), lambda_)
    try:
        raw = constraint.inverse(lambda_)
    except ValueError:  # a softmax or softplus that ran below the smallest number gave an exact 0
        tiny = torch.finfo(lambda_.dtype).tiny
        raw = constraint.inverse(torch.where(lambda_ == 0, tiny, lambda_))
    raw = raw.double()
    constraint.project_(raw)  # a bound such as 0.1 lies elsewhere in float64 than in float32
    return raw
