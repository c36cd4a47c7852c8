"""Dynamic weight average."""

import torch
from torch import Tensor

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.training.weighting._per_target import target_losses
from gate_model.training.weighting._rule import Rule

__all__ = ["DynamicWeightAverage", "dwa_weights"]


def dwa_weights(last: Tensor, before: Tensor, temperature: float) -> Tensor:
    """Return w_t = T softmax_t(L_t(e−1) / (L_t(e−2)·temperature)) `[T]`.

    Args:
        last: losses of the last epoch, L_t(e−1) `[T]`.
        before: losses of the epoch before it, L_t(e−2) `[T]`.
        temperature: the larger it is, the more equal are the weights.
    """
    return len(last) * torch.softmax(last / before / temperature, 0)


class DynamicWeightAverage(Rule):
    """Gives more weight to targets whose loss falls slowly: `dwa_weights` of the mean losses of the last two epochs.

    Source: Liu, Johns, Davison (2019), with its temperature 2. All w_t are 1 in the first two epochs. The mean loss of
    a target is over the batches in which it has a label; if there are none, the mean of the epoch before is used.
    """

    def __init__(self, n_tasks: int, lambda_: float = 1.0, temperature: float = 2.0) -> None:
        super().__init__(n_tasks, lambda_)
        self.temperature = temperature
        self._last: Tensor | None = None
        self._sums, self._counts = torch.zeros(n_tasks), torch.zeros(n_tasks)

    def backward(self, model: GATE, loss: TrainLoss, batch: Batch) -> Tensor:
        """Add the gradient of L_train at the weights of this epoch to the parameters' `grad`; returns L_train."""
        total, losses = target_losses(model, loss, batch, self.weights, self.lambda_)
        self._sums += losses
        self._counts += batch.mask.any(0)
        return total

    def after_epoch(self) -> None:
        """Compute the weights of the next epoch."""
        before = torch.ones(self.n_tasks) if self._last is None else self._last
        last = torch.where(self._counts > 0, self._sums / self._counts, before)
        if self._last is not None:
            self.weights = dwa_weights(last, before, self.temperature)
        self._last = last
        self._sums, self._counts = torch.zeros(self.n_tasks), torch.zeros(self.n_tasks)
