"""Reverse mode through K inner steps, by `higher`."""

from typing import Any

import higher.optim
import torch
from torch import Tensor

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients._base import Hypergradient, StepBatches
from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.optimizers import rule_for
from bilevel_hpo.problem import BilevelProblem

__all__ = ["Unrolled"]


class Unrolled(Hypergradient):
    """dL_val(θ_K(λ), λ)/dλ through K real optimizer steps, the graph of all of them kept.

    Source: Maclaurin, Duvenaud, Adams (2015); Franceschi et al. (2017), reverse mode; the steps are taken by
    `higher` (Grefenstette et al., 2019) with the update rules of `bilevel_hpo.optimizers`.

    Cost: about 2 K plain steps in time; memory for the graphs of K steps with their second derivatives (+129 % of a
    plain step already at K = 1). `OneStep` gives the same numbers as `Unrolled(1)` for +3 %: prefer it unless an
    operation in the loss has no forward mode. Use K > 1 when one step is too short-sighted.

    BatchNorm statistics are carried from step to step as constants, not differentiated.

    Args:
        steps: K. `train_batch` is used for each of them, or `StepBatches` gives one batch a step.
    """

    def __init__(self, steps: int = 1) -> None:
        if steps < 1:
            raise ValueError(f"Unrolled needs steps >= 1; got {steps}")
        self.steps = steps

    def __call__(self, problem: BilevelProblem, lambda_: Tensor, train_batch: Any, val_batch: Any) -> Tensor:
        """dL_val/dλ, exact for the next K steps."""
        batches = train_batch if isinstance(train_batch, StepBatches) else StepBatches([train_batch] * self.steps)
        if len(batches) != self.steps:
            raise ValueError(f"StepBatches holds {len(batches)} batches; {self!r} wants {self.steps}")
        lambda_ = lambda_.detach().requires_grad_()
        with RandomState(), torch.enable_grad():
            params, buffers = problem.parameters(), problem.buffers()
            # `higher` finds parameters by identity in the order of this list; ones without gradient are no leaves.
            reference = [p for group in problem.optimizer.param_groups for p in group["params"]]
            named = {id(p): name for name, p in problem.model.named_parameters()}
            order = [named[id(p)] for p in reference]
            theta = [
                params[n].requires_grad_() if n in params else p.detach() for n, p in zip(order, reference, strict=True)
            ]
            optimizer = higher.optim.get_diff_optim(problem.optimizer, reference)
            try:
                for batch in batches:
                    loss = problem.train_loss(dict(zip(order, theta, strict=True)), buffers, lambda_, batch)
                    theta = optimizer.step(loss, params=theta)
                val_loss = problem.val_loss(dict(zip(order, theta, strict=True)), buffers, lambda_, val_batch)
                (g,) = torch.autograd.grad(val_loss, lambda_, allow_unused=True)
            except NotImplementedError as error:
                if "derivative for" not in str(error):
                    raise
                raise UnsupportedError(
                    f"train_loss uses an operation without second derivatives ({str(error).splitlines()[0]}): replace "
                    "it, e.g. nn.EmbeddingBag by nn.Embedding and a sum"
                ) from error
        if g is None:
            raise UnsupportedError(
                "neither train_loss nor val_loss depends on `weights`: multiply the losses by the argument that the "
                "loss functions receive, not by the module that made it"
            )
        return g

    def check(self, problem: BilevelProblem) -> None:
        """The optimizer's step must be known."""
        rule_for(problem.optimizer)

    def __repr__(self) -> str:
        return f"Unrolled(steps={self.steps})"
