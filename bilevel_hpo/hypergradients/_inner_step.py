"""One inner step θ → θ', taken or only imagined, with all that a one-step hypergradient asks of it."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.batches import parts
from bilevel_hpo.hypergradients._base import Hypergradient
from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.hypergradients._update import slopes
from bilevel_hpo.optimizers import rule_for
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["InnerStep", "OfOneStep", "imagined_step", "taken_step"]


@dataclass
class InnerStep:
    """θ' = θ + U(g), g = ∂L_train(θ, λ)/∂θ on one train batch."""

    batch: Any
    lambda_: Tensor
    """`[N]`."""
    before: Params
    """θ."""
    after: tuple[Params, Params] | None
    """θ' and the buffers after the step; None where the step was taken, and the model holds them."""
    slope: Params
    """∂U/∂g, element by element, or one number for all of a parameter; no entry for a parameter without gradient."""
    lambda_gradient: Tensor | None
    """∂L_train(θ, λ)/∂λ on this rank, `[N]`; None where L_train does not name λ."""
    buffers_before: Params
    random: RandomState
    """The random generators as they were before the step."""
    loss: Tensor
    """L_train(θ, λ) on this rank."""


class OfOneStep(Hypergradient):
    """dL_val(θ'(λ), λ)/dλ for one real optimizer step θ' = θ + U(g), g = ∂L_train(θ, λ)/∂θ.

    With u = (∂U/∂g)ᵀ ∂L_val/∂θ', which is element-wise for the supported optimizers,

        dL_val/dλ = ∂L_val/∂λ + ∂/∂λ (d/dε) L_train(θ + ε·u, λ) at ε = 0.

    What remains to the estimator is the directional derivative. `learner.step` hands it a step that was really
    taken, so that the gradient of that step need not be computed a second time.
    """

    references = ("darts",)

    @abstractmethod
    def cross(self, problem: BilevelProblem, step: InnerStep, u: Params) -> Tensor | None:
        """∂/∂λ (d/dε) L_train(θ + ε·u, λ) at ε = 0, `[N]`; None where L_train does not name λ. May use u up."""

    def __call__(self, problem: BilevelProblem, lambda_: Tensor, train_batch: Any, val_batch: Any) -> Tensor:
        """dL_val/dλ `[N]` of the next step on `train_batch`."""
        with RandomState():
            return self.of(problem, imagined_step(problem, lambda_, train_batch), val_batch)

    def of(self, problem: BilevelProblem, step: InnerStep, val_batch: Any) -> Tensor:
        """dL_val/dλ `[N]` of a step that is known."""
        with RandomState(), torch.enable_grad():
            v, explicit = problem.val_gradient(step.after, step.lambda_, val_batch)
            u = {name: step.slope.pop(name) * v.pop(name) for name in list(v) if name in step.slope}
            del v
            step.random.rewind()
            return problem.total(explicit, self.cross(problem, step, u))

    def check(self, problem: BilevelProblem) -> None:
        """The optimizer's step must be known; operations that will not do show at the first call."""
        rule_for(problem.optimizer)


def imagined_step(problem: BilevelProblem, lambda_: Tensor, batch: Any) -> InnerStep:
    """The step that the optimizer would take on `batch`; nothing moves but the random generators."""
    random = RandomState()
    buffers_before, buffers = problem.buffers(), problem.buffers()
    params = problem.parameters()
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    lambda_ = lambda_.detach().clone().requires_grad_()
    micro = parts(batch)
    sums: dict[str, Tensor] = {}
    total = torch.zeros_like(lambda_[:1].sum())
    with torch.enable_grad():
        for part in micro:
            loss = problem.train_loss(leaves, buffers, lambda_, part) / len(micro)
            total += loss.detach()
            wanted = [*leaves.values(), lambda_]
            found = torch.autograd.grad(loss, wanted, allow_unused=True) if loss.requires_grad else [None] * len(wanted)
            for name, g in zip([*leaves, ""], found, strict=True):
                if g is not None:
                    sums[name] = sums[name] + g if name in sums else g
    lambda_gradient = sums.pop("", None)
    gradients = {name: problem.ranks.averaged(g) for name, g in sums.items()}
    moved = {name: torch.empty_like(params[name], memory_format=torch.contiguous_format) for name in gradients}
    slope = slopes(problem, params, gradients, moved)
    after = {**params, **moved}, buffers
    return InnerStep(batch, lambda_.detach(), params, after, slope, lambda_gradient, buffers_before, random, total)


def taken_step(problem: BilevelProblem, lambda_: Tensor, batch: Any, backward: Callable[[Tensor], Tensor]) -> InnerStep:
    """The step on `batch`, really taken by the optimizer; the gradients are let go, to save their memory.

    Args:
        problem: its model and optimizer move.
        lambda_: λ `[N]`.
        batch: the train batch.
        backward: accumulates ∂L_train/∂θ into the parameters' `grad` and ∂L_train/∂λ into that of its argument λ, and
            returns L_train.
    """
    random = RandomState()
    buffers_before = problem.buffers()
    lambda_ = lambda_.detach().clone().requires_grad_()
    loss = backward(lambda_)
    names = problem.names()
    held = [p for group in problem.optimizer.param_groups for p in group["params"] if p.requires_grad]
    gradients = {names[id(p)]: p.grad for p in held if p.grad is not None}
    before = {name: p.clone() for name, p in problem.parameters().items()}
    slope = slopes(problem, before, gradients)
    del gradients
    problem.optimizer.step()
    problem.optimizer.zero_grad()
    return InnerStep(batch, lambda_.detach(), before, None, slope, lambda_.grad, buffers_before, random, loss)
