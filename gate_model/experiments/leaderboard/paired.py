"""Two methods compared on the same tasks and seeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate_model.signed_rank import log_ratios_by_task, rank_biserial, signed_rank_p

__all__ = ["Paired", "paired"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """Method against reference."""

    ratio: float
    """RMSE over that of the reference, mean over tasks and seeds."""
    ratio_std: float
    """Standard deviation over seeds of the mean over tasks; 0 with one seed."""
    geometric: float
    """The geometric mean of the same ratios: unlike their mean, it is 1 over that of the opposite comparison."""
    wins: int
    """Tasks whose RMSE, mean over seeds, is smaller than the reference's."""
    tasks: int
    p_tasks: float
    """Wilcoxon's signed-rank test (two-sided) on one log ratio per task, mean over seeds."""
    effect: float
    """Matched-pairs rank-biserial correlation of the same: 1 if the method wins everywhere, −1 if nowhere."""
    p_pairs: float
    """The same test on all pairs of task and seed; seeds share molecules, so that it is too sure of itself."""
    wins_pairs: int
    pairs: int


def paired(method: Array, reference: Array) -> Paired:
    """Compare RMSE `[seeds, tasks]`, both of the same seeds and tasks, all positive."""
    if method.shape != reference.shape or method.ndim != 2:
        raise ValueError(f"RMSE of shape {method.shape} and {reference.shape}; both must be [seeds, tasks]")
    ratio, log = method / reference, np.log(method / reference)
    by_seed, by_task = ratio.mean(1), log_ratios_by_task(method, reference)
    return Paired(
        ratio=float(ratio.mean()),
        ratio_std=float(by_seed.std(ddof=1)) if len(by_seed) > 1 else 0.0,
        geometric=float(np.exp(log.mean())),
        wins=int((method.mean(0) < reference.mean(0)).sum()),
        tasks=method.shape[1],
        p_tasks=signed_rank_p(by_task),
        effect=rank_biserial(by_task),
        p_pairs=signed_rank_p(log.ravel()),
        wins_pairs=int((log < 0).sum()),
        pairs=log.size,
    )
