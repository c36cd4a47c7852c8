"""The step on λ, and the messages when it is skipped or not certified."""

import math
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from bilevel_hpo.learner._before import Before
from bilevel_hpo.problem import Certificate, Structure

__all__ = ["descend", "not_certified", "undone", "unusable"]


def descend(
    weights: Any, optimizer: torch.optim.Optimizer, structure: Structure, g: Tensor, active: Tensor | None
) -> bool:
    """Takes one step of `optimizer` on the parameters of `weights` along the hypergradient.

    In half precision a step can leave λ that is not finite: Adam's eps of 10⁻⁸ is 0 in float16. Such a step is undone.

    Args:
        weights: the λ module.
        optimizer: the outer optimizer.
        structure: the structure of λ.
        g: dL_val/dλ `[N]`; the chain rule of the module is applied here.
        active: True where λ `[N]` takes part; None for all.

    Returns:
        False if λ or one of its parameters was not finite after the step; `weights` and `optimizer` are then as
        they were.
    """
    raw = list(cast(nn.Module, weights).parameters())
    before = Before(raw, optimizer)
    optimizer.zero_grad()
    with torch.enable_grad():
        pairs = zip(structure.parts(weights()), structure.parts(structure.unflatten(g)), strict=True)
        learned = [(part, gi) for part, gi in pairs if part.requires_grad]
        torch.autograd.backward([part for part, _ in learned], [gi for _, gi in learned])
    resting: list[tuple[nn.Parameter, Tensor, Tensor]] = []
    if active is not None:
        for p, mask in zip(raw, structure.parts(structure.unflatten(active)), strict=True):
            resting.append((p, ~mask, p.detach().clone()))
            if p.grad is not None:
                p.grad[~mask] = 0.0
    optimizer.step()
    with torch.no_grad():
        for p, mask, value in resting:  # Adam's momentum would move them still
            p.copy_(torch.where(mask, value, p))
    finite = _finite(raw)  # before the projection, which makes a bound of ∞
    if hasattr(weights, "project_"):
        weights.project_()
    with torch.no_grad():
        finite = finite and _finite(structure.parts(weights()))
    if not finite:
        before.put_back()
    return finite


def _finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(x.isfinite().all()) for x in tensors)


def unusable(step: str, g: Tensor, norm: float, losses_finite: bool) -> str | None:
    """Returns the reason why λ must not move along `g`; None if it may.

    Args:
        step: the name of the outer step in the message.
        g: the hypergradient `[N]`.
        norm: ‖g‖, in the dtype of g.
        losses_finite: whether both losses are finite on all ranks. A mean over nothing is NaN and its gradient 0.
    """
    wrong = int((~g.isfinite()).sum())
    if wrong:
        return f"the hypergradient of {step} is not finite in {wrong} of {g.numel()} entries"
    if not math.isfinite(norm):
        return f"the norm of the hypergradient of {step} is too large for {g.dtype}"
    return None if losses_finite else f"the hypergradient of {step} is finite, but not its losses"


def undone(step: str, optimizer: torch.optim.Optimizer, dtype: torch.dtype) -> str:
    """Returns the message about a step that `descend` undid."""
    return (
        f"the step of outer_optimizer {type(optimizer).__name__} made λ NaN or infinite in {step} and was undone "
        f"({dtype} parameters; keep `weights` in float32, or choose an eps that is not 0 in that precision)"
    )


def not_certified(certificate: Certificate) -> str:
    """Returns the message about a hypergradient that is used without a certificate."""
    counted = "it is used unchanged. `learner.uncertified` counts such cases, `learner.history` shows them"
    if certificate.reason:
        return f"a hypergradient could not be checked: {certificate.reason}; {counted}"
    return (
        f"a hypergradient has a relative rounding error of about {certificate.error:.1e}, and computing it in"
        f" float64 did not help; {counted}. A loss that draws random numbers outside torch has the same effect"
    )
