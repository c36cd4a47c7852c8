"""How much of λ belongs to a target, a source or a pair, and how much of that is the same for all seeds.

With R seeds the layout is

    y[r, t, s] = level[r] + T[t] + S[s] + P[t, s] + TR[r, t] + SR[r, s] + E[r, t, s],    t ≠ s,

all effects random and independent. Variances come from the moments: the mean over the seeds and every seed's deviation
from it are each split by least squares into target effects, source effects and a rest. With V the variance of such a
rest, the estimated target effects â have E Σ(â − mean)² / (T−1) = (variance of the effects) + c·V, and c follows from
the design, in which the diagonal is missing; the same for sources. A negative estimate is set to 0, so that the shares
always sum to 1. `level` is no part of the shares.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from paper_studies.meaning.pair_ranks import additive_design, off_diagonal

__all__ = ["PARTS", "Variance", "variance_parts"]

Array = NDArray[np.float64]

PARTS = ("target", "source", "pair", "target by seed", "source by seed", "pair by seed")
"""The parts of the variance. The first three are the same for all seeds; the others differ from seed to seed."""


@dataclass(frozen=True)
class Variance:
    """The variance of y `[R, T, T]` within a seed, off the diagonal."""

    parts: dict[str, float]
    """Variance by `PARTS`."""
    p_pair: float
    """p of the F test of the hypothesis that no pair differs, in all seeds, from the sum of its target and source."""

    @property
    def shares(self) -> dict[str, float]:
        """Share of each part in the sum of all; 0 if nothing varies."""
        total = sum(self.parts.values())
        return {part: value / total if total else 0.0 for part, value in self.parts.items()}

    @property
    def stable(self) -> float:
        """Share of the parts that are the same for all seeds."""
        return sum(self.shares[part] for part in PARTS[:3])


def variance_parts(y: Array) -> Variance:
    """Return the parts of the variance of y `[R, T, T]`.

    Raises:
        ValueError: there are fewer than two seeds or three tasks.
    """
    n_seeds, n_tasks = y.shape[:2]
    if n_seeds < 2 or n_tasks < 3:
        raise ValueError(f"{n_seeds} seeds and {n_tasks} tasks; at least 2 and 3 are needed to tell the parts apart")
    values = y[:, off_diagonal(n_tasks)]
    mean = values.mean(0)
    design = additive_design(n_tasks)
    inverse = np.linalg.pinv(design)

    def split(pairs: Array) -> tuple[Array, Array, Array]:
        """Centred target effects, centred source effects and rest of n matrices `[n, T(T−1)]`."""
        effects = pairs @ inverse.T
        targets, sources = effects[:, :n_tasks], effects[:, n_tasks:]
        centred = (each - each.mean(1, keepdims=True) for each in (targets, sources))
        return *centred, pairs - effects @ design.T

    def positive(variance: float) -> float:
        """0 where it is negative, or so small that it is rounding."""
        return variance if variance > 1e-20 * float((values**2).max()) else 0.0

    common, own = split(mean[None]), split(values - mean)
    # A row of the centred inverse is how one effect answers to a rest of variance 1.
    answers = inverse.T.reshape(len(mean), 2, n_tasks)
    answers = answers - answers.mean(2, keepdims=True)
    c_target, c_source = (answers**2).sum((0, 2)) / (n_tasks - 1)

    df = n_tasks * (n_tasks - 1) - (2 * n_tasks - 1)
    v_own = positive(float((own[2] ** 2).sum()) / (df * (n_seeds - 1)))
    v_common = positive(float((common[2] ** 2).sum()) / df)
    parts = {"pair": v_common - v_own / n_seeds, "pair by seed": v_own}
    for place, (name, c) in enumerate((("target", c_target), ("source", c_source))):
        by_seed = float((own[place] ** 2).sum()) / ((n_tasks - 1) * (n_seeds - 1)) - c * v_own
        # Left as it is where it is negative: setting it to 0 first would bias what is taken off below.
        parts[name] = float((common[place] ** 2).sum()) / (n_tasks - 1) - c * v_common - by_seed / n_seeds
        parts[f"{name} by seed"] = by_seed
    f = n_seeds * v_common / v_own if v_own else np.inf if v_common else np.nan
    p_pair = float(stats.f.sf(f, df, df * (n_seeds - 1)))
    return Variance({part: positive(float(parts[part])) for part in PARTS}, p_pair)
