"""Uncertainty weighting: each task has a learned variance, and its weight is the inverse."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.training.weighting._rule import Rule, target_weights

__all__ = ["Uncertainty"]


class Uncertainty(Rule):
    """Minimises Σ_t ½ exp(−s_t) L_t + ½ s_t over the network and the log variances s_t.

    The weights are w_t = ½ exp(−s_t); at the optimum exp(s_t) = L_t. Source: Kendall, Gal, Cipolla (2018), for
    regression. The s_t of a target without a label in the batch does not change. All w_t start at 1, so that the first
    step equals that of constant weights.

    Args:
        n_tasks: T.
        lambda_: weight of the mapping losses in L_t.
        lr: the highest learning rate of s. The paper uses that of the network; trainings here are too short for s to
            move far with it.
    """

    def __init__(self, n_tasks: int, lambda_: float = 1.0, lr: float = 0.05) -> None:
        super().__init__(n_tasks, lambda_)
        self.log_variance, self.lr = nn.Parameter(torch.full((n_tasks,), -math.log(2))), lr

    def backward(self, model: GATE, loss: TrainLoss, batch: Batch) -> Tensor:
        """Add the gradient in θ and in s to the parameters' `grad`; returns the loss with its penalty on s."""
        w = 0.5 * torch.exp(-self.log_variance)
        pairs = None if self.lambda_ else torch.zeros(self.n_tasks, self.n_tasks, dtype=torch.bool)
        penalty = 0.5 * self.log_variance[batch.mask.any(0)].sum()
        total = loss(model, target_weights(w, self.lambda_), batch, pairs) + penalty
        total.backward()  # type: ignore[no-untyped-call]
        self.weights = w.detach()
        return total.detach()

    def groups(self) -> list[dict[str, Any]]:
        """Return s as a parameter group without weight decay."""
        return [{"params": [self.log_variance], "lr": self.lr, "weight_decay": 0.0}]
