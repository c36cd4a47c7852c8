"""Reverse mode through K inner steps, by `higher`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.batches import StepBatches
from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients._base import Hypergradient
from bilevel_hpo.hypergradients._citations import FRANCESCHI2017, HIGHER, MACLAURIN2015, SHABAN2019
from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.hypergradients._second_order import refuse_once_differentiable, second_derivatives
from bilevel_hpo.optimizers import rule_for
from bilevel_hpo.problem import BilevelProblem, Clipping

__all__ = ["Unrolled"]


class Unrolled(Hypergradient):
    """dL_val(θ_K(λ), λ)/dλ through K real optimizer steps, with the graph of all of them.

    Source: Maclaurin, Duvenaud, Adams (2015); Franceschi et al. (2017), reverse mode; truncation: Shaban et al.
    (2019). The steps are taken by `higher` (Grefenstette et al., 2019) with the update rules of
    `bilevel_hpo.optimizers`.

    Cost: about 2 K plain steps in time; memory for the graphs of K steps with their second derivatives (+129 % of a
    plain step already at K = 1). With truncation after h steps: K + h plain steps, memory for h. `OneStep` gives the
    same numbers as `Unrolled(1)` with the memory of a plain step: prefer it unless an operation in the loss has no
    forward mode. Use K > 1 when one step is too short-sighted; near the optimum of the inner problem
    `ConjugateGradient` looks further ahead at a lower cost.

    BatchNorm statistics are carried from step to step as constants, not differentiated.

    Args:
        steps: K. `train_batch` is used for each step, or `StepBatches` gives one batch per step.
        truncate: h, the number of last steps that are differentiated; by default all K. The bias shrinks as (1 −
            ημ)^h on an inner problem of curvature at least μ under step size η.
    """

    references: tuple[str, ...] = (MACLAURIN2015, FRANCESCHI2017, HIGHER)

    def __init__(self, steps: int = 1, truncate: int | None = None) -> None:
        if steps < 1:
            raise ValueError(f"Unrolled needs steps >= 1; got {steps}")
        if truncate is not None and not 1 <= truncate <= steps:
            raise ValueError(f"Unrolled needs 1 <= truncate <= steps={steps}; got {truncate}")
        self.steps, self.truncate = steps, truncate
        if truncate is not None:
            self.references = (*self.references, SHABAN2019)

    def __call__(self, problem: BilevelProblem, lambda_: Tensor, train_batch: Any, val_batch: Any) -> Tensor:
        """Returns dL_val/dλ `[N]`, exact for the next K steps."""
        batches = train_batch if isinstance(train_batch, StepBatches) else StepBatches([train_batch] * self.steps)
        if len(batches) != self.steps:
            raise ValueError(f"{self!r} needs {self.steps} batches; StepBatches holds {len(batches)}")
        from bilevel_hpo.hypergradients._higher import RuleOptimizer  # noqa: PLC0415  nobody else needs `higher`

        constants = self.steps - (self.truncate or self.steps)
        lambda_ = lambda_.detach().requires_grad_()
        with RandomState(), torch.enable_grad(), problem.composed():
            params, buffers = problem.parameters(), problem.buffers()
            # `higher` finds parameters by identity in the order of this list; ones without gradient are no leaves.
            reference = [p for group in problem.optimizer.param_groups for p in group["params"]]
            named = problem.names()
            order = [named[id(p)] for p in reference]
            theta = [
                params[n].requires_grad_() if n in params else p.detach() for n, p in zip(order, reference, strict=True)
            ]
            optimizer = RuleOptimizer(problem.optimizer, reference)
            clip = None if problem.clipping is None else partial(_clipped, problem.clipping)
            with second_derivatives():
                for number, batch in enumerate(batches):
                    weights = lambda_.detach() if number < constants else lambda_
                    loss = problem.train_loss(dict(zip(order, theta, strict=True)), buffers, weights, batch)
                    if number >= constants:
                        refuse_once_differentiable(loss)
                    if problem.inner_settings is not None:
                        optimizer.follow(problem.inner_settings.by_group(problem.structure.unflatten(weights)))
                    theta = optimizer.step(loss, params=theta, grad_callback=clip)
                    if number < constants:
                        theta = [p.detach().requires_grad_(p.requires_grad) for p in theta]
                        optimizer.detach_state()
                val_loss = problem.val_loss(dict(zip(order, theta, strict=True)), buffers, lambda_, val_batch)
                (g,) = torch.autograd.grad(val_loss, lambda_, allow_unused=True)
        return problem.total(g, None)

    def check(self, problem: BilevelProblem) -> None:
        """Requires an optimizer with an update rule, and the whole batch in one process."""
        rule_for(problem.optimizer)
        if problem.ranks.several:
            raise UnsupportedError(
                f"{self!r} cannot average the inner gradient over the ranks of DistributedDataParallel or fully_shard "
                "in its graph; use OneStep() or FiniteDifference()"
            )

    def __repr__(self) -> str:
        return f"Unrolled(steps={self.steps}{'' if self.truncate is None else f', truncate={self.truncate}'})"


def _clipped(clipping: Clipping, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Clips in the graph; None stays None."""
    clipped = iter(clipping.clipped([g for g in gradients if g is not None]))
    return [None if g is None else next(clipped) for g in gradients]
