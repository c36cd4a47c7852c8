"""When to stop, and which model to keep: judged on the selection molecules, which the exchange never touches."""

import math
from typing import Any

from torch import Tensor, nn

__all__ = ["BestModel"]


class BestModel:
    """The model with the lowest selection RMSE so far; without patience it keeps nothing and never stops.

    Args:
        patience: epochs without a new best after which to stop, at least 1; None for no early stopping.
    """

    def __init__(self, patience: int | None) -> None:
        if patience is not None and patience < 1:
            raise ValueError(f"patience={patience}: it must be at least 1 epoch, or None for no early stopping")
        self.patience = patience
        self.epoch = 0
        """Of the best model; 0 before the first."""
        self.score = math.inf
        self._weights: dict[str, Tensor] = {}

    def add(self, epoch: int, score: float, model: nn.Module) -> None:
        """The model after `epoch`, with its RMSE on the selection molecules; copied to the CPU if it is the best."""
        if self.patience is None or not score < self.score:
            return
        self.epoch, self.score = epoch, score
        self._weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}

    def exhausted(self, epoch: int) -> bool:
        """Have there been `patience` epochs since the best one?"""
        return self.patience is not None and epoch - self.epoch >= self.patience

    def restore(self, model: nn.Module) -> None:
        """Put the best weights back into the model, if there are any."""
        if self._weights:
            model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers, readable by `torch.load(weights_only=True)`."""
        return {"epoch": self.epoch, "score": self.score, "weights": dict(self._weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.epoch, self.score, self._weights = state["epoch"], state["score"], dict(state["weights"])
