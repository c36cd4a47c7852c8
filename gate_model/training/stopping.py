"""Early stopping on the selection molecules, which are never trained on and never exchanged."""

import math
from typing import Any

from torch import Tensor, nn

__all__ = ["BestModel"]


class BestModel:
    """The model with the lowest RMSE on the selection molecules so far.

    Args:
        patience: number of epochs without a better model after which to stop, at least 1. None: never stop early, and
            keep no model.

    Raises:
        ValueError: `patience` is below 1.
    """

    def __init__(self, patience: int | None) -> None:
        if patience is not None and patience < 1:
            raise ValueError(f"patience={patience}: it must be at least 1 epoch, or None for no early stopping")
        self.patience = patience
        self.epoch = 0
        """Epoch of the best model; 0 before the first epoch."""
        self.score = math.inf
        """RMSE of the best model on the selection molecules."""
        self._weights: dict[str, Tensor] = {}

    def add(self, epoch: int, score: float, model: nn.Module) -> None:
        """Compare the model after `epoch` with the best one; if its RMSE `score` is lower, copy it to the CPU."""
        if self.patience is None or not score < self.score:
            return
        self.epoch, self.score = epoch, score
        self._weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}

    def exhausted(self, epoch: int) -> bool:
        """Return whether there have been `patience` epochs since the best one."""
        return self.patience is not None and epoch - self.epoch >= self.patience

    def restore(self, model: nn.Module) -> None:
        """Copy the best weights into the model, if any were kept."""
        if self._weights:
            model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and numbers, which `torch.load(weights_only=True)` can read."""
        return {"epoch": self.epoch, "score": self.score, "weights": dict(self._weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.epoch, self.score, self._weights = state["epoch"], state["score"], dict(state["weights"])
