"""The base class of the weighting rules: (model, loss, batch) ↦ the gradient of one training step."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss

__all__ = ["Rule", "target_weights"]


class Rule(ABC):
    """Chooses weights w `[T]` of the losses L_t = l_reg[t] + λ·c Σ_s l_map[t, s] of the T targets during training.

    The geometric terms belong to no target; their weight is always 1. A rule object holds the state of one training,
    so every training needs a new one.

    Args:
        n_tasks: T.
        lambda_: one λ for all pairs, at least 0; with 0 only the direct paths are trained.

    Raises:
        ValueError: `lambda_` is negative.
    """

    def __init__(self, n_tasks: int, lambda_: float = 1.0) -> None:
        if lambda_ < 0:
            raise ValueError(f"lambda_={lambda_}: it must not be negative")
        self.n_tasks, self.lambda_ = n_tasks, lambda_
        self.weights = torch.ones(n_tasks)

    @abstractmethod
    def backward(self, model: GATE, loss: TrainLoss, batch: Batch) -> Tensor:
        """Add the gradient of one training step to the parameters' `grad`; returns L_train, detached."""

    def before_training(self, steps: int) -> None:  # noqa: B027
        """Called once before the training, with its number of steps."""

    def after_epoch(self) -> None:  # noqa: B027
        """Called at the end of every epoch."""

    def groups(self) -> list[dict[str, Any]]:
        """Return the rule's own parameter groups; the optimizer and its schedule update them with the model's."""
        return []


def target_weights(w: Tensor, lambda_: float | Tensor) -> Tensor:
    """Return W `[T, T]` with W[t, t] = w[t] and W[t, s] = λ·w[t], for w `[T]`."""
    eye = torch.eye(len(w), dtype=w.dtype, device=w.device)
    return w[:, None] * (eye + (1 - eye) * lambda_)
