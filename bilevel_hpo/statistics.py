"""Compare two methods on the same seeds and tasks: how much better one is, and how certain that is.

Scores have shape `[seeds, tasks]`. Each seed is a separate training with its own split; both methods use the same
seeds, so that everything here is paired.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = [
    "LEAST_TASKS",
    "LEVEL",
    "Paired",
    "Scale",
    "mean_over_seeds",
    "mean_over_tasks",
    "paired",
    "rank_biserial",
    "scale_of",
    "signed_rank_p",
]

Array = NDArray[np.float64]

Scale = Literal["ratio", "difference"]
"""The scale on which the scores of two methods on one task are compared.

`ratio`: for errors, which are above 0 and better if lower. A ratio removes the difficulty of the task, and the
logarithm makes a halved error count as much as a doubled one. `difference`: for everything else, such as an accuracy,
an R²
or a log likelihood: a ratio of accuracies near 1 says nothing, and none exists at or below 0.
"""

LEVEL = 0.95
"""The level of the intervals."""
LEAST_TASKS = 6
"""Fewer tasks prove nothing even if all agree: the signed-rank test cannot go below 2 / 2⁵ = 0.06."""


@dataclass(frozen=True, eq=False)
class Paired:
    """The comparison of a method with a reference on S seeds and those of the T tasks that have scores."""

    scale: Scale
    higher_is_better: bool
    by_seed: Array
    """Score minus that of the reference, mean over the tasks, `[S]`."""
    by_task: Array
    """Mean over the seeds of score / reference, or of score − reference on that scale, `[T]`; NaN: no score."""
    reference: float
    """Score of the reference, mean over tasks, then seeds."""
    low: float
    high: float
    """Interval of the mean of `by_seed` with other seeds, at `LEVEL`; NaN for one seed, or an unknown `test_share`."""
    ratio: float
    """Score / reference, mean over tasks, then seeds; NaN on the scale of differences, as the next three are."""
    ratio_std: float
    """Sample standard deviation over the seeds of the ratio's mean over the tasks; NaN for one seed."""
    geometric: float
    """The geometric mean of the same ratios: unlike their mean, it is 1 over that of the opposite comparison."""
    wins: int
    """The number of tasks whose mean score over seeds is better than the reference's."""
    tasks: int
    """The number of tasks with scores."""
    p_tasks: float
    """Wilcoxon's signed-rank test, two-sided, with one log ratio (or difference) per task, its mean over the seeds."""
    effect: float
    """Matched-pairs rank-biserial correlation of the same: 1 if the method is better on all tasks, −1 if on none."""
    p_pairs: float
    """The same test on all pairs of task and seed; seeds share data, so its p is too small."""
    wins_pairs: int
    pairs: int
    different: int
    """The number of tasks on which the two are not equal."""

    @property
    def seeds(self) -> int:
        """The number of shared seeds."""
        return len(self.by_seed)

    @property
    def difference(self) -> float:
        """The score minus that of the reference, averaged over tasks, then over seeds, in the units of the scores."""
        return float(self.by_seed.mean())

    @property
    def relative(self) -> float:
        """`difference` as a share of the reference."""
        return self.difference / self.reference

    @property
    def better(self) -> bool:
        """Whether the method is better on average."""
        return self.difference > 0 if self.higher_is_better else self.difference < 0

    @property
    def seeds_better(self) -> int:
        """The number of seeds in which the method is better."""
        return int(((self.by_seed > 0) if self.higher_is_better else (self.by_seed < 0)).sum())

    @property
    def holds_for_seeds(self) -> bool | None:
        """Whether the sign would hold for other seeds; None if unknown: one seed, or no `test_share`."""
        return None if np.isnan(self.low) else bool(self.low > 0 or self.high < 0)

    @property
    def holds_for_tasks(self) -> bool | None:
        """Whether it holds for most tasks rather than a few; None below `LEAST_TASKS` tasks that differ."""
        return None if self.different < LEAST_TASKS else bool(self.p_tasks <= 1 - LEVEL)


def scale_of(*scores: Array, higher_is_better: bool) -> Scale:
    """Returns the scale on which all these scores can be compared."""
    positive = all((values[np.isfinite(values)] > 0).all() for values in scores)
    return "ratio" if positive and not higher_is_better else "difference"


def paired(
    method: Array,
    reference: Array,
    *,
    test_share: float = float("nan"),
    higher_is_better: bool = False,
    scale: Scale | None = None,
) -> Paired:
    """Compares `method` with `reference`.

    The interval over seeds is Student's, of the mean difference, with the variance of Nadeau and Bengio, Machine
    Learning 52 (2003), doi:10.1023/A:1024068626366: seeds share data, so their differences are not independent, and s²
    enters with the factor (1/S + test examples / training examples) instead of 1/S. It assumes that the differences
    between seeds are normally distributed.

    Args:
        method: scores `[S, T]`; NaN means that the task has no score in that seed.
        reference: the scores `[S, T]` of the reference, for the same seeds and tasks.
        test_share: test examples divided by training examples; 0 if all seeds have the same test data, and the
            interval is to cover other trainings only. NaN means unknown: there is no interval.
        higher_is_better: True for scores such as accuracies.
        scale: by default `scale_of` both.

    Raises:
        ValueError: the shapes differ or are not `[S, T]`, there is no seed or no pair of scores, or the scale is a
            ratio and a score is 0 or below.
    """
    if method.shape != reference.shape or method.ndim != 2 or not method.size:
        raise ValueError(f"both scores must have shape [seeds, tasks]; got {method.shape} and {reference.shape}")
    if not (np.isfinite(method) & np.isfinite(reference)).any():
        raise ValueError("at least one task must have a score of both in some seed; none has")
    if scale == "ratio" and scale_of(method, reference, higher_is_better=False) != "ratio":
        raise ValueError("with scale='ratio' every score must be positive; use 'difference'")
    scale = scale or scale_of(method, reference, higher_is_better=higher_is_better)
    known = np.isfinite(method) & np.isfinite(reference)
    method, reference = np.where(known, method, np.nan), np.where(known, reference, np.nan)
    seeds = known.any(axis=1)
    by_seed = mean_over_tasks(method)[seeds] - mean_over_tasks(reference)[seeds]
    ratios = method / reference if scale == "ratio" else np.full(method.shape, np.nan)
    each = np.log(ratios) if scale == "ratio" else method - reference
    steps = mean_over_seeds(each)
    steps = steps[np.isfinite(steps)]
    mean, other = mean_over_seeds(method), mean_over_seeds(reference)
    sign = 1 if higher_is_better else -1
    S = len(by_seed)
    half = float("nan")
    if S > 1:
        half = stats.t.ppf((1 + LEVEL) / 2, S - 1) * by_seed.std(ddof=1) * np.sqrt(1 / S + test_share)
    ratio_by_seed = mean_over_tasks(ratios)[seeds]
    return Paired(
        scale=scale,
        higher_is_better=higher_is_better,
        by_seed=by_seed,
        by_task=mean_over_seeds(ratios if scale == "ratio" else each),
        reference=float(mean_over_tasks(reference)[seeds].mean()),
        low=float(by_seed.mean() - half),
        high=float(by_seed.mean() + half),
        ratio=float(ratio_by_seed.mean()),
        ratio_std=float(ratio_by_seed.std(ddof=1)) if S > 1 else float("nan"),
        geometric=float(np.exp(each[known].mean())) if scale == "ratio" else float("nan"),
        wins=int((sign * mean > sign * other).sum()),
        tasks=int(np.isfinite(mean).sum()),
        p_tasks=signed_rank_p(steps),
        effect=-sign * rank_biserial(steps),
        p_pairs=signed_rank_p(each[known]),
        wins_pairs=int((sign * each[known] > 0).sum()),
        pairs=int(known.sum()),
        different=int(np.count_nonzero(steps)),
    )


def signed_rank_p(differences: Array) -> float:
    """Returns p of Wilcoxon's signed-rank test, two-sided and without zeros; 1 if all are zero.

    Exact for up to 50 different differences, and for up to 13 if some have equal size; otherwise it uses the normal
    approximation. Source: Wilcoxon (1945), as in SciPy.
    """
    nonzero = differences[differences != 0]
    return float(stats.wilcoxon(nonzero).pvalue) if len(nonzero) else 1.0


def rank_biserial(differences: Array) -> float:
    """Its effect size, (ranks of the negative − ranks of the positive) / all ranks of |difference|, without zeros.

    1 if all are negative, −1 if all are positive, 0 if all are zero. Source: Kerby (2014), the simple difference
    formula.
    """
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    return float(-(np.sign(nonzero) * ranks).sum() / ranks.sum())


def mean_over_seeds(values: Array) -> Array:
    """The mean over seeds, `[S, T]` ↦ `[T]`; NaN only where every seed is NaN."""
    count = np.isfinite(values).sum(axis=0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def mean_over_tasks(values: Array) -> Array:
    """The mean over tasks, `[S, T]` ↦ `[S]`; NaN only where every task is NaN."""
    return mean_over_seeds(values.T)
