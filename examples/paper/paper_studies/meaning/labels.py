"""What the labels themselves say about two tasks: their rank correlation over molecules that carry both."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["FEWEST", "label_correlations"]

FEWEST = 10
"""Molecules that two tasks must share; with fewer there is no relation to be seen."""


def label_correlations(labels: NDArray[np.float64], train_rows: Iterable[NDArray[np.int64]]) -> NDArray[np.float64]:
    """|Spearman's ρ| of every two tasks `[T, T]`, mean over the seeds; 0 with fewer than `FEWEST` molecules.

    The sign is left out: a task that falls where another rises tells as much about it.

    Args:
        labels: `[N, T]`, NaN = none.
        train_rows: of each seed.
    """
    found = [
        pd.DataFrame(labels[rows]).corr(method="spearman", min_periods=FEWEST).abs().fillna(0.0).to_numpy()
        for rows in train_rows
    ]
    return np.asarray(np.mean(found, axis=0))
