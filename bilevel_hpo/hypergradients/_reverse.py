"""∂/∂λ of the slope of L_train along u by reverse mode alone: where forward mode cannot be had, or not be trusted."""

import torch
from torch import Tensor

from bilevel_hpo.batches import parts
from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.hypergradients._second_order import second_derivatives
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["cross_by_reverse"]


def cross_by_reverse(
    problem: BilevelProblem, step: InnerStep, u: Params, *, complete: bool
) -> tuple[Tensor | None, Tensor]:
    """∂/∂λ ⟨∂L_train/∂θ(θ, λ), u⟩ `[N]` on this rank, None where no λ changes it; and ⟨∂L_train/∂θ, u⟩, a scalar.

    Two passes of reverse mode: memory for the graph of a backward pass, about two plain steps in time.

    Args:
        problem: its losses are evaluated.
        step: θ, λ, batch and buffers as they were; the random generators must stand as they did before the step.
        u: the direction by name.
        complete: whether the scalar must be that of the whole L_train; otherwise it is that of `problem.lambda_terms`.

    Raises:
        UnsupportedError: an operation has no second derivative.
    """
    weights = step.lambda_.clone().requires_grad_()
    buffers = {name: b.clone() for name, b in step.buffers_before.items()}
    leaves = problem.frozen() | {n: p.detach().requires_grad_() if n in u else p for n, p in step.before.items()}
    directions = list(u.values())
    terms = problem.train_loss if complete else problem.lambda_terms
    micro = parts(step.batch)
    total: Tensor | None = None
    slope = torch.zeros_like(weights[:1].sum())
    for part in micro:
        with torch.enable_grad(), problem.composed(), second_derivatives():
            loss = terms(leaves, buffers, weights, part) / len(micro)
            if not loss.requires_grad or not u:
                continue
            wanted = [leaves[name] for name in u]
            gradients = torch.autograd.grad(loss, wanted, create_graph=True, materialize_grads=True)
            along = torch.stack([(g * d).sum() for g, d in zip(gradients, directions, strict=True)]).sum()
            g = torch.autograd.grad(along, weights, allow_unused=True)[0] if along.requires_grad else None
        slope += along.detach()
        if g is not None:
            total = g if total is None else total + g
    return total, slope
