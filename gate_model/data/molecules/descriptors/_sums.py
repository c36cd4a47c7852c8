"""Sums from left to right, as in RDKit's loops: NumPy's own sum adds in another order and rounds otherwise."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["running_sum", "running_total"]


def running_sum(values: NDArray[np.float64]) -> float:
    """((v₁ + v₂) + v₃) + …; 0 of none."""
    return float(np.add.accumulate(values)[-1]) if values.size else 0.0


def running_total(values: Iterable[float]) -> float:
    """The same for Python's floats, whose `sum` compensates rounding from Python 3.12."""
    total = 0.0
    for value in values:
        total += value
    return total
