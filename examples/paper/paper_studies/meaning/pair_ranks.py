"""Rank correlation of two matrices over ordered pairs of tasks `[T targets, T sources]`, in three views.

- "all pairs": Spearman's ρ over the T(T−1) values off the diagonal.
- "within targets": Spearman's ρ over the T−1 sources of one target, mean over the targets.
- "pairs alone": ρ of the residuals after the level of each target and each source is subtracted (a row effect plus a
  column effect, fitted by least squares without the diagonal).

The values share targets and sources, so they are not independent. They are therefore compared with the correlation
after the tasks of one matrix are renamed at random, rows and columns alike (the quadratic assignment procedure: Mantel,
1967; Krackhardt, 1988).
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

__all__ = [
    "RENAMINGS",
    "VIEWS",
    "View",
    "additive_design",
    "between_seeds",
    "correlation",
    "off_diagonal",
    "reliability",
    "renaming_p",
    "without_levels",
]

Array = NDArray[np.float64]
View = Literal["all pairs", "within targets", "pairs alone"]

VIEWS: tuple[View, ...] = ("all pairs", "within targets", "pairs alone")
RENAMINGS = 2000


def off_diagonal(n_tasks: int) -> NDArray[np.bool_]:
    """Return a mask `[T, T]` that is True where target and source differ."""
    return ~np.eye(n_tasks, dtype=bool)


def additive_design(n_tasks: int) -> Array:
    """Return the design matrix: one row for each pair off the diagonal, a column for each target and each source."""
    targets, sources = np.nonzero(off_diagonal(n_tasks))
    one = np.eye(n_tasks)
    return np.hstack([one[targets], one[sources]])


def without_levels(matrix: Array) -> Array:
    """Return the residuals of `[T, T]` after row and column effects are subtracted; NaN on the diagonal.

    Raises:
        ValueError: there are fewer than three tasks; with two the effects explain everything.
    """
    n_tasks = len(matrix)
    if n_tasks < 3:
        raise ValueError(f"{n_tasks} tasks; at least 3 are needed to tell pairs from the levels of targets and sources")
    off, design = off_diagonal(n_tasks), additive_design(n_tasks)
    values = matrix[off]
    left = values - design @ (np.linalg.pinv(design) @ values)
    # If the levels explain everything, only rounding errors are left, which must not be ranked.
    left[np.abs(left) <= 1e-10 * np.abs(values).max()] = 0.0
    rest = np.full(matrix.shape, np.nan)
    rest[off] = left
    return rest


def correlation(a: Array, b: Array, view: View) -> float:
    """Return the correlation of two matrices `[T, T]`, finite off the diagonal; NaN if one of them does not vary."""
    return _product(_scores(a, view), _scores(b, view), view)


def renaming_p(a: Array, b: Array, view: View, *, seed: int = 0) -> float:
    """Return the one-sided p of their correlation, (1 + renamings with one as high) / (1 + `RENAMINGS`).

    It is NaN if one of the matrices does not vary.
    """
    # The scores of renamed tasks are the renamed scores.
    scores_a, scores_b = _scores(a, view), _scores(b, view)
    found = _product(scores_a, scores_b, view)
    if np.isnan(found):
        return float("nan")
    generator = np.random.default_rng(seed)
    renamings = (generator.permutation(len(b)) for _ in range(RENAMINGS))
    as_high = sum(_product(scores_a, scores_b[np.ix_(new, new)], view) >= found - 1e-12 for new in renamings)
    return float((1 + as_high) / (1 + RENAMINGS))


def between_seeds(matrices: Array, view: View) -> list[tuple[int, int, float]]:
    """Return (place, place, correlation) for every two of the S matrices `[S, T, T]`."""
    return [(i, j, correlation(matrices[i], matrices[j], view)) for i, j in combinations(range(len(matrices)), 2)]


def reliability(correlations: Sequence[float], n_seeds: int) -> float:
    """Return the reliability of the mean over n seeds, n·r / (1 + (n−1)·r), or 0 if r ≤ 0.

    r is the mean of the correlations between single seeds. Source: Spearman (1910), Brown (1910). The correlation of
    two such means is at most the root of the product of their reliabilities.
    """
    r = float(np.mean(correlations))
    return n_seeds * r / (1 + (n_seeds - 1) * r) if r > 0 else 0.0


def _scores(matrix: Array, view: View) -> Array:
    """Return centred ranks `[T, T]`, scaled to length 1 (for "within targets" each row alone); 0 if nothing varies."""
    off = off_diagonal(len(matrix))
    if view == "pairs alone":
        matrix = without_levels(matrix)
    if view == "within targets":
        return np.stack([_ranked(row, others) for row, others in zip(matrix, off, strict=True)])
    return _ranked(matrix, off)


def _ranked(values: Array, chosen: NDArray[np.bool_]) -> Array:
    ranks = rankdata(values[chosen])
    ranks -= ranks.mean()
    length = float(np.linalg.norm(ranks))
    scores = np.zeros(values.shape)
    scores[chosen] = ranks / length if length else 0.0
    return scores


def _product(a: Array, b: Array, view: View) -> float:
    """Return the correlation of two matrices of scores; for "within targets" the mean over rows in which both vary."""
    parts = a.any(1) & b.any(1) if view == "within targets" else np.array([a.any() and b.any()])
    return float((a * b).sum() / parts.sum()) if parts.any() else float("nan")
