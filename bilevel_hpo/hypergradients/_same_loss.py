"""Check that a loss evaluated again in float64 is the loss of the training step."""

from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["another_loss"]

TOLERANCE = 1e-3
"""The largest difference that rounding in float32 explains, relative to the loss and to what it would change by if
every number in θ had an error as large as itself."""


def another_loss(
    problem: BilevelProblem,
    step: InnerStep,
    doubled: InnerStep,
    val_losses: tuple[Tensor, Tensor],
    val_batch: Any,
    precision: torch.dtype,
) -> str:
    """Returns the message about a loss with another value in float64; empty if both losses agree.

    Args:
        problem: the problem, whose L_val is evaluated once more in float64 if the two values differ.
        step: the step of the training.
        doubled: the same in float64. The random generators must be in their state before L_val.
        val_losses: L_val after `step` and after `doubled`.
        val_batch: the batch of L_val.
        precision: the precision of the step.
    """
    tolerance = max(TOLERANCE, 8 * torch.finfo(precision).eps)
    if _differ(step.loss, doubled.loss, doubled.before, doubled.gradients, tolerance):
        return _said("train_loss", step.loss, doubled.loss)
    before, after = val_losses
    if _differ(before, after, {}, {}, tolerance):  # perhaps because θ' is another: at the same one now
        random, (theta, buffers) = RandomState(), step.after
        copied = {name: b.clone() for name, b in buffers.items()}
        after, v, _ = problem.gradient("val_loss", theta, copied, step.lambda_, val_batch)
        random.rewind()
        if _differ(before, after, theta, v, tolerance):
            return _said("val_loss", before, after)
    return ""


def _differ(loss: Tensor, doubled: Tensor, theta: Params, gradient: Params, tolerance: float) -> bool:
    """Whether they differ by more than the rounding of the result and of θ explains."""
    squares = [(theta[name] * g).square().sum() for name, g in gradient.items()]
    scale = doubled.abs() + (torch.stack(squares).sum().sqrt() if squares else 0.0)
    return not bool((loss - doubled).abs() <= tolerance * scale)


def _said(which: str, loss: Tensor, doubled: Tensor) -> str:
    return (
        f"{which} has another value when it is evaluated again in float64: {float(doubled):.6g} instead of "
        f"{float(loss):.6g}; does it read the dtype, count its calls, or draw random numbers outside torch?"
    )
