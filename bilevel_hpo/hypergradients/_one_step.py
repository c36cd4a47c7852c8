"""The exact hypergradient of one inner step, by forward mode, without a graph of the training step."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients._cross import Cross
from bilevel_hpo.hypergradients._difference import by_difference
from bilevel_hpo.hypergradients._fused import FusedTangents
from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.hypergradients._judge import judged
from bilevel_hpo.hypergradients._micro_batches import Terms, mean_of_parts
from bilevel_hpo.hypergradients._of_one_step import MARGIN, OfOneStep
from bilevel_hpo.hypergradients._proven import UnprovenError
from bilevel_hpo.hypergradients._reverse import by_reverse_mode
from bilevel_hpo.hypergradients._second_order import NoSecondDerivativeError
from bilevel_hpo.problem import BilevelProblem, Params, custom_functions

__all__ = ["OneStep"]


class OneStep(OfOneStep):
    """dL_val(θ'(λ), λ)/dλ for one real optimizer step θ' = θ + U(C(g)), g = ∂L_train(θ, λ)/∂θ; the default.

    With u = (∂(U∘C)/∂g)ᵀ ∂L_val/∂θ', where C is the clipping of the gradient,

        dL_val/dλ = ∂L_val/∂λ + ∂/∂λ (d/dε) L_train(θ + ε·u, λ) at ε = 0.

    The directional derivative takes one forward-mode pass over L_train, and differentiating it in λ gives every λ
    at once, for any way in which λ enters L_train. Source: Liu, Simonyan, Yang, DARTS (2019), Eq. 7, there by
    finite differences and for SGD; exact here, and for the optimizer's own step.

    Rounding: over 2,638 float32 states of thirteen networks, against float64 from the same state, the error has a
    median of 2e-7 and is below 1e-2 in 99.92 % (docs/rounding.md, with what the check does not see).

    Cost on top of the inner step that it differentiates (`learner.step`): one forward and backward pass over L_val
    and one forward-mode pass over L_train, about 1.2 plain steps; memory: a few copies of θ, no graph, whatever the
    number of λ. Called alone (`learner.hypergradient`) it computes that step's gradient first: one plain step more.
    A recomputation in float64 costs 7 to 8 plain steps more on a CPU for a transformer, 17 for convolutions,
    and 30 for networks so small that Python's overhead dominates.

    It looks one step ahead. On a free λ it is short-sighted: a larger loss weight makes that step longer, which need
    not help in the end. Use it with a `Budget`. Use `Unrolled` for a longer horizon.

    Args:
        tolerance: as in `OfOneStep`. None saves the float64 passes and accepts the float32 result; L_train is then
            replaced by the learner's `lambda_terms`, if there are any, in the forward-mode pass.
    """

    def __init__(self, tolerance: float | None = 1e-2) -> None:
        super().__init__(tolerance)

    def cross(self, problem: BilevelProblem, step: InnerStep, u: Params, *, complete: bool) -> Cross:
        """By a forward-mode pass, then reverse mode from its tangent to λ; by reverse mode where that cannot be had,
        and by a difference where that cannot be had either."""
        scale = _power_of_two(u)
        for ui in u.values():
            ui.mul_(scale)
        found = self._found(problem, step, u, complete)
        if found.custom and self.tolerance is not None and found.precision == torch.float64:
            found = judged(problem, step, u, _candidates(problem, step, u, found), self.tolerance / MARGIN)
        gradient = found.lambda_gradient
        return found._replace(slope=found.slope / scale, lambda_gradient=None if gradient is None else gradient / scale)

    def _found(self, problem: BilevelProblem, step: InnerStep, u: Params, complete: bool) -> Cross:
        """Uses the first of the three ways that raises no error in torch."""
        terms = problem.train_loss if complete else problem.lambda_terms
        at = _nudged(step.before) if complete else step.before
        try:
            return _by_forward_mode(problem, step, u, terms, at)
        except UnsupportedError:  # said of the losses themselves
            raise
        except Exception as first:  # operations that lack a forward mode say so by errors of many kinds
            step.random.rewind()
            try:
                return by_reverse_mode(problem, step, u, terms, at)
            except NoSecondDerivativeError as error:
                if not complete:
                    raise
                return _difference(problem, step, u, 1e-4)._replace(custom=str(error))
            except Exception as second:
                if isinstance(first, UnprovenError) or isinstance(second, UnsupportedError):
                    raise
                raise first from second

    def __repr__(self) -> str:
        return "OneStep()" if self.tolerance == 1e-2 else f"OneStep(tolerance={self.tolerance})"


def _candidates(problem: BilevelProblem, step: InnerStep, u: Params, found: Cross) -> Iterator[Cross]:
    """Yields the result, then differences with shorter and shorter shifts, which lose digits, but during
    which fewer ReLUs change sides."""
    yield found
    for relative in (1e-4, 1e-6, 1e-8):
        yield _difference(problem, step, u, relative)._replace(custom=found.custom)


def _difference(problem: BilevelProblem, step: InnerStep, u: Params, relative: float) -> Cross:
    """Computes the derivative from first derivatives only; accurate enough in float64 only."""
    step.random.rewind()
    return by_difference(problem, step, u, problem.train_loss, relative, central=True)


def _nudged(params: Params) -> Params:
    """Returns θ with every number changed in size by one or two of its last bits; half precision is unchanged.

    What the loss makes of it is rounded otherwise than in the inner step, so that both slopes do not share the rounding
    of the residuals of a network that fits its batch exactly. The sign differs from input to input of a layer: the
    changes then cancel in the loss as roundings do, and do not look like an error that is not there. Source: the idea
    of stochastic arithmetic (Vignes, 2004).
    """
    return {name: p * _signs(p) if p.dtype in _NUDGED else p for name, p in params.items()}


def _signs(p: Tensor) -> Tensor:
    """Returns 1 ± the machine epsilon for every input of a layer, pseudo-random and the same at every call."""
    axis = min(p.ndim - 1, 1)
    shape = [n if i == axis else 1 for i, n in enumerate(p.shape)]
    place = torch.arange(p.shape[axis] if p.ndim else 1, device=p.device)
    signs = torch.where(place * 40503 % 65536 < 32768, 1, -1).reshape(shape)
    return 1 + torch.finfo(p.dtype).eps * signs.to(p.dtype)


_NUDGED = (torch.float32, torch.float64)


def _by_forward_mode(problem: BilevelProblem, step: InnerStep, u: Params, terms: Terms, at: Params) -> Cross:
    """Evaluates at θ = `at`; raises an error without a forward-mode derivative that has a derivative in λ."""
    precision, custom = next(iter(step.before.values())).dtype, set[str]()
    constant = problem.frozen() | at

    def of(buffers: Params, weights: Tensor, part: Any) -> tuple[Tensor, Tensor | None]:
        nonlocal precision
        with forward_ad.dual_level():
            dual = {n: forward_ad.make_dual(p, u[n]) if n in u else p for n, p in constant.items()}  # type: ignore[no-untyped-call]
            with problem.composed(), FusedTangents() as fused:
                loss = terms(dual, buffers, weights, part)
            tangent = forward_ad.unpack_dual(loss).tangent  # type: ignore[no-untyped-call]
        if precision != torch.float64:  # which autocast leaves as it is
            precision = fused.autocast or precision
        custom.update(custom_functions(loss))  # θ needs no gradient here: those through which λ goes
        if tangent is None:
            return torch.zeros_like(step.loss), None
        if not tangent.requires_grad:
            return tangent, None
        # Outside of the level, where the backward pass carries no tangents.
        return tangent.detach(), torch.autograd.grad(tangent, weights, allow_unused=True)[0]

    slope, gradient = mean_of_parts(step, of)
    return Cross(slope, gradient, precision, custom=", ".join(sorted(custom)))


def _power_of_two(u: Params) -> Tensor:
    """Returns a factor that scales u to a length of about 1 without rounding: tangents of Adam's u underflow."""
    length = torch.stack(torch._foreach_norm(list(u.values()))).norm()
    exponent = torch.frexp(length).exponent.to(length.dtype)
    return torch.where(length.isfinite() & (length > 0), torch.exp2(-exponent), 1.0)
