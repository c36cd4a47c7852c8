"""The derivative in λ of the slope of L_train along u by reverse mode alone, where forward mode cannot be had."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.batches import parts
from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.hypergradients._of_one_step import Cross
from bilevel_hpo.hypergradients._second_order import second_derivatives
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["Terms", "by_reverse_mode"]

Terms = Callable[[Params, Params, Tensor, Any], Tensor]
"""`BilevelProblem.train_loss` or `BilevelProblem.lambda_terms`."""


def by_reverse_mode(problem: BilevelProblem, step: InnerStep, u: Params, terms: Terms) -> Cross:
    """⟨∂L_train/∂θ(θ, λ), u⟩ and ∂/∂λ of it, by two passes of reverse mode.

    Cost: about two plain steps, and memory for the graph of a backward pass.

    Args:
        problem: its losses are evaluated.
        step: θ, λ, batch and buffers; the random generators must stand as they did before the step.
        u: the direction by name; not empty.
        terms: L_train, or the terms of it that name λ.

    Raises:
        UnsupportedError: an operation has no second derivative.
    """
    weights = step.lambda_.clone().requires_grad_()
    buffers = {name: b.clone() for name, b in step.buffers_before.items()}
    leaves = problem.frozen() | {n: p.detach().requires_grad_() if n in u else p for n, p in step.before.items()}
    micro = parts(step.batch)
    slope, total = torch.zeros_like(step.loss), torch.zeros_like(weights)
    named = False
    for part in micro:
        with torch.enable_grad(), problem.composed(), second_derivatives():
            loss = terms(leaves, buffers, weights, part) / len(micro)
            if not loss.requires_grad:
                continue
            wanted = [leaves[name] for name in u]
            gradients = torch.autograd.grad(loss, wanted, create_graph=True, materialize_grads=True)
            along = torch.stack([(g * d).sum() for g, d in zip(gradients, u.values(), strict=True)]).sum()
            g = torch.autograd.grad(along, weights, allow_unused=True)[0] if along.requires_grad else None
        slope += along.detach()
        if g is not None:
            total, named = total + g, True
    return Cross(slope, total if named else None, next(iter(step.before.values())).dtype, independent=False)
