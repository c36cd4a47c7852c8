"""The history of epochs and outer steps, kept within a bounded size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

__all__ = ["Epoch", "History", "OuterStep"]

VALUES = 4_000_000
"""The largest number of values of λ and g kept: 32 MB in float64."""
ROWS = 10_000


@dataclass(frozen=True)
class Epoch:
    """One row of `learner.epochs`."""

    epoch: int
    """1 for the first."""
    train_loss: float
    """The mean of L_train over the inner steps of the epoch, each before its step."""
    outer_steps: int
    """The number of outer steps taken in this epoch."""
    skipped: int
    """The number of outer steps skipped because the hypergradient, a loss or the new λ was not finite."""
    seconds: float
    """The seconds since the first epoch began, without pauses between runs."""
    val_loss: float = math.nan
    """The mean of L_val over the outer steps of the epoch without skipped ones: each on its own batch and at the θ
    where the estimator evaluates it, usually that after the inner step. NaN if there was no outer step. With
    fit(validate=True), and with a `ReduceLROnPlateau`, the mean over all validation batches, at the θ and λ of the
    epoch's end."""
    stopped: bool = False
    """Whether `learner.stop()` was called in one of its steps, so that the epoch may be short."""


@dataclass(frozen=True)
class OuterStep:
    """The scalars in one row of `learner.history`."""

    outer_step: int
    """The number of the outer step, 1 for the first; skipped ones are counted."""
    epoch: int
    """The number of its epoch, 1 for the first."""
    inner_step: int
    """The number of inner steps before it, including the one that shares its gradient."""
    train_loss: float
    """L_train on its train batch at θ; NaN for an estimator that does not evaluate it."""
    val_loss: float
    """L_val on its validation batch, at the θ where the estimator evaluates it."""
    g_norm: float
    """‖g‖ before clipping."""
    certificate: float
    """The estimated rounding error of g relative to ‖g‖; NaN for an estimator without a check."""
    computed_in: str
    """The precision in which g was computed: "float32", or "float64" where float32 was not enough."""
    certified: bool
    """False if the estimator has a check and g did not pass it, even in float64."""
    skipped: bool
    """Whether g, a loss or the new λ was not finite, so that λ did not move."""
    seconds: float
    """The training time so far."""
    outer_seconds: float
    """The time of the hypergradient and the step on λ; with a shared gradient, also of the inner step."""


class History:
    """The history of outer steps: λ, its hypergradient g, losses and timings.

    Beyond `ROWS` outer steps, or `VALUES` numbers of λ and g, every second row is dropped and from then on only every
    second, fourth, … outer step is kept: the rows stay evenly spread over the whole training.

    Args:
        labels: names of the N entries of λ.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self.stride = 1
        self.last: dict[str, Any] | None = None
        """The scalars of the last outer step, kept or not; None before the first since this was made."""
        self._capacity = max(16, min(ROWS, VALUES // (2 * max(len(self.labels), 1))))
        self._rows: list[dict[str, Any]] = []
        self._lambda: list[Tensor] = []
        self._g: list[Tensor] = []

    def add(self, row: dict[str, Any], lambda_: Tensor, g: Tensor) -> None:
        """Adds one outer step: its scalars, with `outer_step` (1 for the first), λ `[N]` before it, and g `[N]`."""
        self.last = row
        if (row["outer_step"] - 1) % self.stride:
            return
        self._rows.append(row)
        self._lambda.append(lambda_.cpu())
        self._g.append(g.cpu())
        if len(self._rows) > self._capacity:
            self.stride *= 2
            kept = [i for i, row in enumerate(self._rows) if (row["outer_step"] - 1) % self.stride == 0]
            self._rows = [self._rows[i] for i in kept]
            self._lambda, self._g = [self._lambda[i] for i in kept], [self._g[i] for i in kept]

    def to_frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """Returns one row per outer step kept, with `columns`, then `lambda:<label>` and `g:<label>` for every λ."""
        frame = pd.DataFrame(self._rows, columns=list(columns))
        if not self._rows:
            return frame
        vectors = [
            pd.DataFrame(_array(torch.stack(values)), columns=[f"{prefix}:{label}" for label in self.labels])
            for prefix, values in (("lambda", self._lambda), ("g", self._g))
        ]
        return pd.concat([frame, *vectors], axis=1)

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole history, readable by `torch.load(weights_only=True)`."""
        lambda_, g = (torch.stack(v) if v else torch.empty(0) for v in (self._lambda, self._g))
        return {"stride": self.stride, "rows": [dict(row) for row in self._rows], "lambda": lambda_, "g": g}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from `state`."""
        self.stride, self._rows = state["stride"], [dict(row) for row in state["rows"]]
        self._lambda, self._g = list(state["lambda"]), list(state["g"])


def _array(values: Tensor) -> np.ndarray:
    """Converts to NumPy, which has no bfloat16."""
    array: np.ndarray = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return array
