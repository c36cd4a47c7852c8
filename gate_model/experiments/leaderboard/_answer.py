"""What one method leaves behind for one seed, and what it is given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from gate_model.data.prepared import PreparedData
from gate_model.model.evaluation import predict
from gate_model.training.settings import Settings

__all__ = ["Answer", "Assignment", "Predict", "Runner", "columns", "of_model"]

Predict = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Rows of the table `[n]` ↦ predictions `[n, T]`, standardised."""


@dataclass(frozen=True)
class Assignment:
    """One seed's data and how to train on them."""

    data: PreparedData
    settings: Settings
    seed: int
    python: Path | None = None
    """The interpreter that has chemprop."""
    seconds: float | None = None
    """How long the training may take, for a method with a time limit."""


@dataclass(frozen=True)
class Answer:
    """All choices are made: no number of the test molecules has been looked at yet."""

    predict: Predict
    seconds: float
    """Wall seconds of all its trainings, without evaluation."""
    training_runs: int = 1
    lambda_: Tensor | None = None
    """In units of the direct path `[T, T]`, where the method has such."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """A row per epoch: epoch, seconds, train_loss, and selection, the RMSE on the selection molecules."""
    trajectory: Tensor | None = None
    """`lambda_` at the start and after every epoch `[epochs + 1, T, T]`, where the method learns it."""


class Runner(Protocol):
    """How a method is run."""

    def __call__(self, assignment: Assignment) -> Answer:
        """Train, choose, and hand back a way to predict; DivergedError if the training diverged."""


def of_model(data: PreparedData, model: nn.Module) -> Predict:
    """Predictions of a network on `data`."""
    return lambda rows: predict(model, data.some(rows)[0])


def columns(tasks: list[Predict]) -> Predict:
    """Predictions of one model for each task `[n, 1]`, side by side."""
    return lambda rows: np.concatenate([of(rows) for of in tasks], axis=1)
