"""The input and the result of one method for one seed."""

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
"""A function: rows of the table `[n]` ↦ predictions `[n, T]` in standardised units."""


@dataclass(frozen=True)
class Assignment:
    """The data of one seed, and how to train on them."""

    data: PreparedData
    settings: Settings
    seed: int
    python: Path | None = None
    """Path of a Python interpreter that can import chemprop."""
    seconds: float | None = None
    """Seconds that the training may take, for a method with a time limit."""


@dataclass(frozen=True)
class Answer:
    """The result of one method for one seed. The test molecules have not been used yet."""

    predict: Predict
    seconds: float
    """Wall-clock seconds of all its trainings, without evaluation."""
    training_runs: int = 1
    """Number of its trainings."""
    lambda_: Tensor | None = None
    """λ in units of the direct path `[T, T]`, if the method has λ."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """One entry for each epoch: epoch, seconds, train_loss, and selection (RMSE on the selection molecules)."""
    trajectory: Tensor | None = None
    """`lambda_` at the start and after every epoch `[epochs + 1, T, T]`, if the method learns it."""


class Runner(Protocol):
    """A function that trains one method."""

    def __call__(self, assignment: Assignment) -> Answer:
        """Train, make all choices, and return the answer.

        Raises:
            DivergedError: the predictions are not finite.
        """


def of_model(data: PreparedData, model: nn.Module) -> Predict:
    """Return a function with the predictions of a network on `data`."""
    return lambda rows: predict(model, data.some(rows)[0])


def columns(tasks: list[Predict]) -> Predict:
    """Return a function that puts the predictions `[n, 1]` of one model for each task side by side."""
    return lambda rows: np.concatenate([of(rows) for of in tasks], axis=1)
