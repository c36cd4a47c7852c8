"""The derivative in λ of the slope of L_train along u by reverse mode, where forward mode is not available."""

from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.hypergradients._autocast import AutocastWatch
from bilevel_hpo.hypergradients._cross import Cross
from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.hypergradients._micro_batches import Terms, mean_of_parts
from bilevel_hpo.hypergradients._second_order import refuse_once_differentiable, second_derivatives
from bilevel_hpo.optimizers import rule_for
from bilevel_hpo.problem import BilevelProblem, Params, custom_functions

__all__ = ["by_reverse_mode"]


def by_reverse_mode(problem: BilevelProblem, step: InnerStep, u: Params, terms: Terms, at: Params) -> Cross:
    """Returns ⟨∂L_train/∂θ, u⟩ and its ∂/∂λ, by two reverse-mode passes.

    Its operations are those that gave g, so that the slope shares the rounding of g·u unless `at` differs from θ in
    the last bits. Under autocast, in half precision and in TensorFloat-32 these bits are lost: the slope is then not
    `independent`. Nor is it, below float64, under an optimizer that divides by the size of g: where λ acts inside
    the network, the slope can be right to seven digits and its derivative in λ wrong by a sixth (a network with
    BatchNorm that fits its batch).

    Cost: about two plain steps, and the memory of the graph of a backward pass.

    Args:
        problem: the problem whose losses are evaluated.
        step: λ, batch and buffers; the random generators must be in their state before the step.
        u: the direction by parameter name; not empty.
        terms: L_train, or its terms that depend on λ.
        at: θ, possibly different in its last bits.

    Raises:
        NoSecondDerivativeError: an operation has no second derivative.
    """
    leaves = problem.frozen() | {n: p.detach().requires_grad_() if n in u else p for n, p in at.items()}
    watch, custom = AutocastWatch(step.lambda_.device.type), set[str]()

    def of(buffers: Params, weights: Tensor, part: Any) -> tuple[Tensor, Tensor | None]:
        with torch.enable_grad(), problem.composed(), second_derivatives():
            with watch:
                loss = terms(leaves, buffers, weights, part)
            if not loss.requires_grad:
                return torch.zeros_like(step.loss), None
            refuse_once_differentiable(loss)
            custom.update(custom_functions(loss))
            wanted = [leaves[name] for name in u]
            gradients = torch.autograd.grad(loss, wanted, create_graph=True, materialize_grads=True)
            along = torch.stack([(g * d).sum() for g, d in zip(gradients, u.values(), strict=True)]).sum()
            gradient = torch.autograd.grad(along, weights, allow_unused=True)[0] if along.requires_grad else None
        return along.detach(), gradient

    slope, gradient = mean_of_parts(step, of)
    theta = next(iter(at.values()))
    precision = theta.dtype if theta.dtype == torch.float64 else watch.seen or theta.dtype  # autocast leaves float64
    independent = precision == torch.float64 or (
        precision == torch.float32 and not _tensor_float32(theta) and rule_for(problem.optimizer).linear
    )
    return Cross(slope, gradient, precision, independent, ", ".join(sorted(custom)))


def _tensor_float32(theta: Tensor) -> bool:
    """Whether products of `theta` may be computed with ten bits instead of 23."""
    return theta.is_cuda and (torch.backends.cudnn.allow_tf32 or torch.get_float32_matmul_precision() != "highest")
