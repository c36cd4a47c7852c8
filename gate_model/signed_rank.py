"""Does one method have a lower RMSE than another on most tasks? Wilcoxon's signed-rank test of their log ratios.

Tasks differ in how hard they are, so that RMSE are compared as ratios; the logarithm makes a halved RMSE count as much
as a doubled one.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["log_ratios_by_task", "rank_biserial", "signed_rank_p"]

Array = NDArray[np.float64]


def log_ratios_by_task(method: Array, reference: Array) -> Array:
    """log(RMSE / RMSE of the reference), mean over the seeds; one number for each task that has test labels.

    Args:
        method: RMSE `[seeds, tasks]`; NaN = no test label of the task in that seed.
        reference: of the same seeds and tasks.
    """
    logs = np.log(method / reference)
    return np.asarray(np.nanmean(logs[:, np.isfinite(logs).any(axis=0)], axis=0))


def signed_rank_p(differences: Array) -> float:
    """p of Wilcoxon's signed-rank test, two-sided, zeros left out; 1 if all are zero.

    Exact for up to 50 different differences, and for up to 13 if some are equal in size; else by the normal
    approximation. Source: Wilcoxon (1945), as in SciPy.
    """
    nonzero = differences[differences != 0]
    return float(stats.wilcoxon(nonzero).pvalue) if len(nonzero) else 1.0


def rank_biserial(differences: Array) -> float:
    """Its effect size, (ranks of the negative − ranks of the positive) / all ranks of |difference|, zeros left out.

    1 if all are negative, −1 if all are positive, 0 if all are zero. Source: Kerby (2014), the simple difference
    formula.
    """
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    return float(-(np.sign(nonzero) * ranks).sum() / ranks.sum())
