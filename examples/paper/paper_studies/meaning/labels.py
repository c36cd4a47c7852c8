"""The rank correlation between the labels of two tasks, over the molecules that carry both."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["FEWEST", "label_correlations"]

FEWEST = 10
"""Number of molecules that two tasks must share; with fewer, their correlation counts as 0."""


def label_correlations(labels: NDArray[np.float64], train_rows: Iterable[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return |Spearman's ρ| of every two tasks `[T, T]`, mean over the seeds; 0 with fewer than `FEWEST` molecules.

    The sign is dropped, because a negative correlation tells as much about a task as a positive one.

    Args:
        labels: labels `[N, T]`, NaN = no label.
        train_rows: the train molecules of each seed.
    """
    found = [
        pd.DataFrame(labels[rows]).corr(method="spearman", min_periods=FEWEST).abs().fillna(0.0).to_numpy()
        for rows in train_rows
    ]
    return np.asarray(np.mean(found, axis=0))
