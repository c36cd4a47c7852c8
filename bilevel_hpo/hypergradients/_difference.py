"""The derivative in λ of the slope of L_train along u, from first derivatives only."""

import torch
from torch import Tensor

from bilevel_hpo.hypergradients._cross import Cross
from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.hypergradients._micro_batches import OfPart, Terms, mean_of_parts
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["by_difference"]


def by_difference(
    problem: BilevelProblem, step: InnerStep, u: Params, terms: Terms, relative: float, *, central: bool
) -> Cross:
    """Returns (L(θ + ε·u) − L(θ)) / ε and its ∂/∂λ. Source: Liu, Simonyan, Yang, DARTS (2019), Eq. 8.

    Args:
        problem: the problem whose losses are evaluated.
        step: θ, λ, batch and buffers; the random generators must be in their state before the step.
        u: the direction by parameter name; not empty.
        terms: L_train, or its terms that depend on λ.
        relative: the length of ε·u relative to that of θ.
        central: whether to use (L(θ + ε·u) − L(θ − ε·u)) / 2ε instead, at the cost of a second evaluation.
    """
    if step.lambda_gradient is None:
        return Cross(torch.zeros_like(step.loss), None, step.lambda_.dtype)
    length = torch.stack(torch._foreach_norm([step.before[name] for name in u])).norm()
    size = torch.stack(torch._foreach_norm(list(u.values()))).norm()
    # At u = 0 the quotient is 0 for any ε; at θ = 0 the shift is measured by itself.
    epsilon = relative * torch.where(length > 0, length, 1.0) / torch.where(size == 0, 1.0, size)
    slope, gradient = mean_of_parts(step, _shifted(step, u, terms, epsilon))
    if central:
        step.random.rewind()
        behind, behind_gradient = mean_of_parts(step, _shifted(step, u, terms, -epsilon))
        width = 2 * epsilon
    else:
        behind, behind_gradient, width = step.loss, step.lambda_gradient, epsilon
    if gradient is None or behind_gradient is None:
        return Cross((slope - behind) / width, None, step.lambda_.dtype)
    return Cross((slope - behind) / width, (gradient - behind_gradient) / width, step.lambda_.dtype)


def _shifted(step: InnerStep, u: Params, terms: Terms, epsilon: Tensor) -> OfPart:
    """Returns L(θ + ε·u) and its gradient in λ."""
    theta = {n: torch.addcmul(p, u[n], epsilon.to(p.dtype)) if n in u else p for n, p in step.before.items()}

    def of(buffers: Params, weights: Tensor, part: object) -> tuple[Tensor, Tensor | None]:
        loss = terms(theta, buffers, weights, part)
        gradient = torch.autograd.grad(loss, weights, allow_unused=True)[0] if loss.requires_grad else None
        return loss.detach(), gradient

    return of
