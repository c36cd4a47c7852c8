"""What every rule is: (model, loss, batch) ↦ the gradient of one training step."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss

__all__ = ["Rule", "target_weights"]


class Rule(ABC):
    """Weights w `[T]` on the losses L_t = l_reg[t] + λ·c Σ_s l_map[t, s] of the T targets, chosen during training.

    The geometric terms belong to no target; every rule leaves their weight at 1. A rule holds the state of one
    training.

    Args:
        n_tasks: T.
        lambda_: one λ for all pairs; 0: the direct paths alone.
    """

    def __init__(self, n_tasks: int, lambda_: float = 1.0) -> None:
        if lambda_ < 0:
            raise ValueError(f"lambda_={lambda_}: it must not be negative")
        self.n_tasks, self.lambda_ = n_tasks, lambda_
        self.weights = torch.ones(n_tasks)

    @abstractmethod
    def backward(self, model: GATE, loss: TrainLoss, batch: Batch) -> Tensor:
        """Put the gradient of a step into the parameters' `grad`; L_train, detached."""

    def before_training(self, steps: int) -> None:  # noqa: B027
        """Called once, with the number of steps that will be taken."""

    def after_epoch(self) -> None:  # noqa: B027
        """Called at the end of every epoch."""

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the rule's own that the inner optimizer and its schedule move with the model's."""
        return []


def target_weights(w: Tensor, lambda_: float | Tensor) -> Tensor:
    """W `[T, T]` with W[t, t] = w[t] and W[t, s] = λ·w[t], for w `[T]`."""
    eye = torch.eye(len(w), dtype=w.dtype, device=w.device)
    return w[:, None] * (eye + (1 - eye) * lambda_)
