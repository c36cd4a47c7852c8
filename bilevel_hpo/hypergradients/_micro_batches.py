"""The mean of a number over micro-batches, and its gradient in λ, part by part."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.batches import parts
from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.problem import Params

__all__ = ["OfPart", "Terms", "mean_of_parts"]

Terms = Callable[[Params, Params, Tensor, Any], Tensor]
"""`BilevelProblem.train_loss` or `BilevelProblem.lambda_terms`."""

OfPart = Callable[[Params, Tensor, Any], tuple[Tensor, Tensor | None]]
"""(buffers, λ, part) ↦ a scalar without a graph, and its gradient in λ `[N]`; None where it does not depend on λ."""


def mean_of_parts(step: InnerStep, of: OfPart) -> tuple[Tensor, Tensor | None]:
    """Returns the mean of `of` over the parts of the train batch, and that of its gradient in λ `[N]`.

    Args:
        step: the step; its λ is passed as a leaf that requires a gradient, its buffers as a copy that one part passes
            to the next, as in training.
        of: the function of one part.
    """
    weights = step.lambda_.clone().requires_grad_()
    buffers = {name: b.clone() for name, b in step.buffers_before.items()}
    micro = parts(step.batch)
    value: Tensor = torch.zeros_like(step.loss)
    gradient: Tensor | None = None
    for part in micro:
        of_part, g = of(buffers, weights, part)
        value = value + of_part / len(micro)
        if g is not None:
            gradient = g / len(micro) if gradient is None else gradient + g / len(micro)
    return value, gradient
