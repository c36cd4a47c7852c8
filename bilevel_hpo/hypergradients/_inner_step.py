"""One inner step θ → θ', with everything that a one-step hypergradient needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.hypergradients._update import Update, updated
from bilevel_hpo.problem import BilevelProblem, Clipped, Params

__all__ = ["InnerStep", "imagined_step", "upcoming_step"]


@dataclass(frozen=True)
class InnerStep:
    """The step θ' = θ + U(C(g)), g = ∂L_train(θ, λ)/∂θ on one train batch, C the clipping; the model still holds θ."""

    batch: Any
    lambda_: Tensor
    """`[N]`."""
    before: Params
    """θ."""
    after: tuple[Params, Params]
    """θ' and the buffers after the step."""
    gradients: Params
    """g, averaged over the ranks and not clipped; no entry for a parameter without gradient."""
    clipped: Clipped
    """g as the optimizer receives it, and the derivative of the clipping."""
    update: Update
    lambda_gradient: Tensor | None
    """∂L_train(θ, λ)/∂λ on this rank, `[N]`; None if L_train does not depend on λ."""
    buffers_before: Params
    random: RandomState
    """The random generators as they were before the step."""
    loss: Tensor
    """L_train(θ, λ) on this rank."""


def imagined_step(
    problem: BilevelProblem, lambda_: Tensor, batch: Any, buffers_before: Params | None = None
) -> InnerStep:
    """Returns the step that the optimizer would take on `batch`; only the random generators advance.

    Args:
        problem: the problem, whose optimizer and model are only read.
        lambda_: λ `[N]`.
        batch: the train batch.
        buffers_before: the buffers before the step; by default those of the model.
    """
    random = RandomState()
    buffers_before = problem.buffers() if buffers_before is None else buffers_before
    buffers = {name: b.clone() for name, b in buffers_before.items()}
    params = problem.parameters()
    loss, sums, lambda_gradient = problem.gradient("train_loss", params, buffers, lambda_, batch)
    gradients = {name: problem.ranks.averaged(sums.pop(name)) for name in list(sums)}
    return _step(problem, lambda_, batch, params, buffers, gradients, lambda_gradient, buffers_before, random, loss)


def upcoming_step(
    problem: BilevelProblem, lambda_: Tensor, batch: Any, backward: Callable[[Tensor], Tensor]
) -> InnerStep:
    """Returns the step that the optimizer will take next, with the gradient computed by the training loop itself.

    Args:
        problem: the problem, whose model has the buffers after the forward pass of the training step.
        lambda_: λ `[N]`.
        batch: the train batch.
        backward: a function that accumulates ∂L_train/∂θ in the parameters' `grad` and ∂L_train/∂λ in that of its
            argument λ, and returns L_train.
    """
    random = RandomState()
    buffers_before = problem.buffers()
    lambda_ = lambda_.detach().clone().requires_grad_()
    loss = backward(lambda_)
    gradients = problem.gradients()
    buffers = {name: b.detach() for name, b in problem.model.named_buffers()}
    return _step(
        problem, lambda_, batch, problem.parameters(), buffers, gradients, lambda_.grad, buffers_before, random, loss
    )


def _step(
    problem: BilevelProblem,
    lambda_: Tensor,
    batch: Any,
    params: Params,
    buffers: Params,
    gradients: Params,
    lambda_gradient: Tensor | None,
    buffers_before: Params,
    random: RandomState,
    loss: Tensor,
) -> InnerStep:
    used = Clipped(gradients) if problem.clipping is None else problem.clipping.at(gradients)
    update = updated(problem, params, used.gradients)
    after = {**params, **update.after}, buffers
    return InnerStep(
        batch, lambda_.detach(), params, after, gradients, used, update, lambda_gradient, buffers_before, random, loss
    )
