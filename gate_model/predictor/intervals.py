"""Prediction intervals by split conformal prediction, scaled by σ.

Papadopoulos, Proedrou, Vovk, Gammerman (2002), "Inductive Confidence Machines for Regression"; Lei et al. (2018),
"Distribution-Free Predictive Inference for Regression", section 5.2 (scores divided by a spread).

Shapes: n selection molecules, T tasks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["COVERAGE", "Intervals", "fewest"]

COVERAGE = 0.9
"""Stated share of the labels inside their interval, unless another is asked for."""
_ROUNDING = 1e-9

Array = NDArray[np.float64]


def fewest(coverage: float) -> int:
    """Selection labels without which an interval of this coverage is unbounded: 9 for 90 %, 19 for 95 %."""
    return math.ceil(coverage / (1 - coverage) - _ROUNDING)


@dataclass(frozen=True, eq=False)
class Intervals:
    """Scores |error|/σ of the selection molecules, ascending, for each task."""

    scores: tuple[Array, ...]

    @classmethod
    def calibrated(cls, mean: Array, sigma: Array, labels: Array) -> "Intervals":
        """From predictions, σ and labels of the selection molecules, each `[n, T]`; NaN = no label."""
        scores = np.abs(mean - labels) / np.maximum(sigma, np.finfo(np.float64).tiny)
        return cls(tuple(np.sort(column[np.isfinite(labels)[:, task]]) for task, column in enumerate(scores.T)))

    def factors(self, coverage: float = COVERAGE) -> Array:
        """Half the width of each task's interval in units of σ, `[T]`: the ⌈(n + 1)·coverage⌉-th smallest score.

        The label of a molecule that is exchangeable with the selection molecules is inside with a probability from
        `coverage` to `coverage` + 1/(n + 1). Infinite for a task with fewer labels than `fewest(coverage)`.

        Raises:
            ValueError: `coverage` is not between 0 and 1.
        """
        if not 0 < coverage < 1:
            raise ValueError(f"coverage={coverage}: it must be above 0 and below 1, such as 0.9")
        places = [math.ceil((len(scores) + 1) * coverage - _ROUNDING) for scores in self.scores]
        return np.array([s[k - 1] if k <= len(s) else np.inf for s, k in zip(self.scores, places, strict=True)])

    def to_dict(self) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """The arrays by name: the scores of all tasks in a row, and how many each task has."""
        return {
            "scores": np.concatenate(self.scores),
            "counts": np.array([len(scores) for scores in self.scores], np.int64),
        }

    @classmethod
    def from_dict(cls, arrays: Mapping[str, NDArray[np.float64] | NDArray[np.int64]]) -> "Intervals":
        """Inverse of `to_dict`."""
        scores, ends = np.asarray(arrays["scores"], np.float64), np.cumsum(arrays["counts"])
        if ends[-1] != len(scores):
            raise ValueError(f"intervals.scores has {len(scores)} numbers, intervals.counts says {ends[-1]}")
        return cls(tuple(np.split(scores, ends[:-1])))
