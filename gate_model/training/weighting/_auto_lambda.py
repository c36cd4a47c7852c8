"""The hypergradient of Auto-λ, which it computes by a finite difference."""

from typing import Any

import torch
from torch import Tensor

from bilevel_hpo import Hypergradient

__all__ = ["AutoLambda"]


class AutoLambda(Hypergradient):
    """Looks one plain SGD step ahead, and differentiates it in λ by a central difference:

        θ' = θ − η ∂L_train/∂θ,  v = ∂L_val/∂θ at θ',  g = −η (∂L_train/∂λ(θ + εv) − ∂L_train/∂λ(θ − εv)) / (2ε).

    Source: Liu, James, Davison, Johnson, Auto-λ (2022), with its ε = 0.01/‖v‖. η is the optimizer's present learning
    rate. The step is one of plain SGD whatever the optimizer is; `bilevel_hpo.FiniteDifference` uses the optimizer's
    own step instead. The cost is about 3 plain steps.
    """

    def __call__(self, problem: Any, lambda_: Tensor, train_batch: Any, val_batch: Any) -> Tensor:
        """Return g `[N]`. All passes draw the same dropout."""
        params, rate = problem.parameters(), problem.optimizer.param_groups[0]["lr"]
        state = torch.get_rng_state()
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        loss = problem.train_loss(leaves, problem.buffers(), lambda_, train_batch)
        found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        ahead = {name: p - rate * g for (name, p), g in zip(params.items(), found, strict=True)}
        v, _ = problem.val_gradient((ahead, problem.buffers()), lambda_, val_batch)
        epsilon = 0.01 / torch.stack([part.norm() for part in v.values()]).norm().clamp_min(1e-12)
        sides = []
        for sign in (1, -1):
            torch.set_rng_state(state)
            shifted = {name: p + sign * epsilon * v[name] if name in v else p for name, p in params.items()}
            weights = lambda_.detach().clone().requires_grad_()
            terms = problem.lambda_terms(shifted, problem.buffers(), weights, train_batch)
            sides.append(torch.autograd.grad(terms, weights)[0])
        torch.set_rng_state(state)
        g: Tensor = -rate * (sides[0] - sides[1]) / (2 * epsilon)
        return g

    def check(self, problem: Any) -> None:
        """Accept every optimizer."""
