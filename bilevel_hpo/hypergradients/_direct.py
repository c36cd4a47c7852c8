"""The paper's algorithm 3, as printed."""

from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients._base import Hypergradient
from bilevel_hpo.hypergradients._citations import GATE_BILEVEL
from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.problem import BilevelProblem

__all__ = ["Direct"]


class Direct(Hypergradient):
    """g = ∂L_val/∂λ at fixed θ: the explicit dependence of L_val on λ, without the response of θ.

    Source: the paper, algorithm 3. Cost: one forward pass over L_val. Works with every optimizer.

    Do not use it to learn λ. If λ enters L_val as a factor of losses, λ·l, the gradient is l itself, which is
    never negative: under Adam every λ falls at about the learning rate until it reaches its bound, whatever the
    data. It is included because it is the published algorithm; use `OneStep` with a `Budget` instead.
    """

    references = (GATE_BILEVEL,)

    def __call__(self, problem: BilevelProblem, lambda_: Tensor, train_batch: Any, val_batch: Any) -> Tensor:
        """Returns ∂L_val/∂λ; the train batch is not used."""
        lambda_ = lambda_.detach().requires_grad_()
        with RandomState(), torch.enable_grad():
            loss = problem.val_loss(problem.parameters(), problem.buffers(), lambda_, val_batch)
            if not loss.requires_grad:
                raise UnsupportedError(
                    "Direct() needs a val_loss that depends on `weights` (algorithm 3 differentiates nothing else); "
                    "put them into val_loss, or use OneStep()"
                )
            (g,) = torch.autograd.grad(loss, lambda_)
        return problem.total(g, None)

    def check(self, problem: BilevelProblem) -> None:
        """Accepts any optimizer and model; raises UnsupportedError for `inner_settings`, which have no effect."""
        if problem.inner_settings is not None:
            raise UnsupportedError(
                "Direct() does not differentiate a step, so inner_settings has no effect; use OneStep()"
            )

    def __repr__(self) -> str:
        return "Direct()"
