"""A λ that falls on a fixed schedule without looking at validation data: the control for `Direct`."""

import math

from torch import Tensor

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.training.weighting._rule import Rule, target_weights

__all__ = ["Decay"]


class Decay(Rule):
    """λ = exp(−rate·u) for all pairs, where u is the share of the training's steps that are done.

    The gradient that `Direct` follows is never negative, so its λ falls whatever the validation data say. On the 32
    tasks of `chemicals` (seed 0, 30 epochs) the mean of its λ falls as exp(−1.9 u), within 0.03 at every epoch. This
    rule follows the same curve without validation data: the difference between the two methods is what the validation
    data add.

    Args:
        n_tasks: T.
        rate: how fast λ falls.
    """

    def __init__(self, n_tasks: int, rate: float = 1.9) -> None:
        super().__init__(n_tasks)
        self.rate, self._done, self._steps = rate, 0, 1

    def before_training(self, steps: int) -> None:
        """Stretch the schedule over this number of steps."""
        self._steps = steps

    def backward(self, model: GATE, loss: TrainLoss, batch: Batch) -> Tensor:
        """Add the gradient of L_train at the present λ to the parameters' `grad`; returns L_train."""
        self.lambda_ = math.exp(-self.rate * self._done / self._steps)
        self._done += 1
        total = loss(model, target_weights(self.weights, self.lambda_), batch)
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()
