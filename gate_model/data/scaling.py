"""Labels to zero mean and unit variance, from the training molecules alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Standardizer"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Mean and standard deviation of each task's labels, `[T]`."""

    mean: Array
    std: Array

    @classmethod
    def fit(cls, labels: Array) -> "Standardizer":
        """From labels `[N, T]`, NaN = none; a task whose labels are all the same gets std 1."""
        std = np.nanstd(labels, axis=0)
        return cls(np.nanmean(labels, axis=0), np.where(std > 0, std, 1.0))

    def transform(self, labels: Array) -> Array:
        """Standardised labels; NaN stays."""
        return (labels - self.mean) / self.std

    def inverse(self, standardised: Array) -> Array:
        """Labels in the tasks' own units."""
        return standardised * self.std + self.mean

    def to_dict(self) -> dict[str, Array]:
        """The arrays by name."""
        return {"mean": self.mean, "std": self.std}

    @classmethod
    def from_dict(cls, arrays: dict[str, Array]) -> "Standardizer":
        """Inverse of `to_dict`."""
        return cls(arrays["mean"], arrays["std"])
