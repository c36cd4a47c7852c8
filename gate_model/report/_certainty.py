"""How sure a difference between two methods is: over seeds, and over tasks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gate_model.signed_rank import log_ratios_by_task, signed_rank_p

__all__ = ["LEAST_TASKS", "LEVEL", "Certainty", "certainty"]

LEVEL = 0.95
LEAST_TASKS = 6
"""Fewer tasks that all agree are no proof: the signed-rank test cannot go below 2 / 2⁵ = 0.06."""


@dataclass(frozen=True)
class Certainty:
    """What S shared seeds and T tasks say about the difference in RMSE."""

    low: float
    high: float
    """95 % interval of the mean difference with another seed; NaN for one seed."""
    p_tasks: float
    """Wilcoxon's signed-rank test, two-sided, over the tasks; NaN below six that differ."""

    @property
    def holds_for_seeds(self) -> bool | None:
        """Would the sign be the same with other seeds? None for one seed: nobody can tell."""
        return None if np.isnan(self.low) else bool(self.low > 0 or self.high < 0)

    @property
    def holds_for_tasks(self) -> bool | None:
        """Is it most of the tasks rather than a few? None below six tasks."""
        return None if np.isnan(self.p_tasks) else bool(self.p_tasks <= 1 - LEVEL)


def certainty(mine: NDArray[np.float64], theirs: NDArray[np.float64], *, test_share: float) -> Certainty:
    """Paired over seeds and tasks.

    Over seeds: Student's interval of the mean difference with the variance of Nadeau and Bengio, Machine Learning 52
    (2003), doi:10.1023/A:1024068626366: seeds share molecules, so their differences are not independent, and s² counts
    (1/S + test molecules / training molecules) times instead of 1/S times. It takes the differences between seeds for
    normal. Over tasks: `signed_rank_p` of the logarithm of the RMSE ratios, means over the seeds.

    Args:
        mine: RMSE `[S, T]`; NaN = no test label of the task in that seed.
        theirs: RMSE of the other method in the same seeds and tasks.
        test_share: test molecules divided by training molecules.
    """
    by_seed = np.nanmean(mine, axis=1) - np.nanmean(theirs, axis=1)
    S = len(by_seed)
    low = high = p_tasks = float("nan")
    if S > 1:
        half = stats.t.ppf((1 + LEVEL) / 2, S - 1) * by_seed.std(ddof=1) * np.sqrt(1 / S + test_share)
        low, high = float(by_seed.mean() - half), float(by_seed.mean() + half)
    logs = log_ratios_by_task(mine, theirs)
    if np.count_nonzero(logs) >= LEAST_TASKS:
        p_tasks = signed_rank_p(logs)
    return Certainty(low, high, p_tasks)
