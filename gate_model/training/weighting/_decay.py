"""A λ that falls on a schedule and looks at no validation data: the control for `Direct`."""

import math

from torch import Tensor

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.training.weighting._rule import Rule, target_weights

__all__ = ["Decay"]


class Decay(Rule):
    """λ = exp(−rate·u) for all pairs, u the share of the training's steps that are done.

    The gradient that `Direct` follows is never negative, so that λ falls whatever the validation data say. On the 32
    tasks of `chemicals` (seed 0, 30 epochs) the mean of its λ falls as exp(−1.9 u), to 0.03 at every epoch; this rule
    does that without asking anybody. What is left between the two is what the validation data add.
    """

    def __init__(self, n_tasks: int, rate: float = 1.9) -> None:
        super().__init__(n_tasks)
        self.rate, self._done, self._steps = rate, 0, 1

    def before_training(self, steps: int) -> None:
        """The schedule is laid out for so many steps."""
        self._steps = steps

    def backward(self, model: GATE, loss: TrainLoss, batch: Batch) -> Tensor:
        """The gradient of L_train at the present λ."""
        self.lambda_ = math.exp(-self.rate * self._done / self._steps)
        self._done += 1
        total = loss(model, target_weights(self.weights, self.lambda_), batch)
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()
