"""Draw long paths of λ with few points and a few arrows."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["arrow_steps", "thinned"]

_ARROWS = 3


def thinned(path: NDArray[np.float64], limit: int = 200) -> NDArray[np.int32]:
    """Returns the steps of `path` `[steps, P]` to draw: all, or `limit` steps spread evenly, with first and last."""
    return np.unique(np.linspace(0, len(path) - 1, min(len(path), limit)).round().astype(np.int32))


def arrow_steps(path: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns up to three steps of `path` `[steps, P]`, evenly along its length, each λ relative to its own range.

    A path that does not move has none.
    """
    extent = np.ptp(path, axis=0)
    moved = np.linalg.norm(np.diff(path, axis=0) / np.where(extent > 0, extent, 1), axis=1)
    length = np.concatenate([[0], np.cumsum(moved)])
    if length[-1] == 0:
        return np.array([], dtype=np.int64)
    wanted = length[-1] * (np.arange(_ARROWS) + 0.5) / _ARROWS
    return np.unique(np.searchsorted(length, wanted))
