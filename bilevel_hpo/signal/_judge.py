"""The verdict on each column of a series and on all together, from several starts of the series at once."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo.signal._statistics import Array, coefficients, contrasts, rotation_p, simes, student

__all__ = ["Judged", "judged"]

MIN_START = 20
"""No start of a series shorter than this is looked at, unless the series itself is."""


@dataclass(frozen=True)
class Judged:
    """The result of the tests."""

    table: pd.DataFrame
    """A row per column: `steps`, `mean`, `standard_error`, `n_effective`, `t` of the start with least p, and `p`."""
    p: float
    """The p of all columns together."""
    steps: int
    """The start with the smallest p for all columns together."""
    effective_steps: float
    """The number of independent steps in that start."""


@dataclass(frozen=True)
class _Start:
    """The first `steps` of the series."""

    steps: int
    mean: Array
    standard_error: Array
    t: Array
    p: Array
    together: float
    inflation: Array
    """Variance of the mean relative to that of a mean of independent steps, `[N]`."""


def judged(x: Array, cluster: NDArray[np.int64] | None) -> Judged:
    """Tests that the mean of `x` `[n, N]` is 0 over all n steps, over the first half, quarter, eighth, …

    Once λ has been learned, its mean gradient is 0 from then on: the start of the training shows what there was
    to learn. The p of the starts are combined by Simes' rule. For all columns together there are two p: of the rotation
    test, which detects many small means, and Bonferroni's, which detects a few large ones, combined in the same way.

    Args:
        x: the series; no column is 0 throughout.
        cluster: the validation batch of each step; the differences between them count as noise.
    """
    lengths = [len(x)]
    while lengths[-1] // 2 >= MIN_START:
        lengths.append(lengths[-1] // 2)
    starts = [_start(x[:n], None if cluster is None else cluster[:n]) for n in lengths]
    p = np.stack([start.p for start in starts])
    best = p.argmin(0)
    columns = np.arange(x.shape[1])

    def of_best(name: str) -> Array:
        return np.asarray(np.stack([getattr(start, name) for start in starts])[best, columns])

    steps = np.array(lengths)[best]
    table = pd.DataFrame(
        {
            "steps": steps,
            "mean": of_best("mean"),
            "standard_error": of_best("standard_error"),
            "n_effective": np.clip(steps / np.maximum(of_best("inflation"), 1.0), 1.0, None),
            "t": of_best("t"),
            "p": simes(p),
        }
    )
    together = np.array([start.together for start in starts])
    most = starts[int(together.argmin())]
    effective = max(most.steps / max(float(most.inflation.mean()), 1.0), 1.0)
    many, few = simes(together[:, None])[0], min(len(table) * float(table["p"].min()), 1.0)
    return Judged(table, float(simes(np.array([[many], [few]]))[0]), most.steps, effective)


def _start(x: Array, cluster: NDArray[np.int64] | None) -> _Start:
    n = len(x)
    rows = coefficients(x)
    t, p = student(rows)
    variance_of_mean, together = np.square(rows[1:]).mean(0) / n, rotation_p(rows)
    if cluster is not None and len(np.unique(cluster)) < n:
        rows = contrasts(x, cluster)
        t_between, p_between = student(rows)
        larger = p_between > p
        t, p = np.where(larger, t_between, t), np.maximum(p, p_between)
        variance_of_mean = np.where(larger, np.square(rows[1:]).mean(0) / len(rows), variance_of_mean)
        together = max(together, rotation_p(rows))
    variance = x.var(0, ddof=1)
    inflation = np.divide(n * variance_of_mean, variance, out=np.ones_like(variance), where=variance > 0)
    return _Start(n, x.mean(0), np.sqrt(variance_of_mean), t, p, together, inflation)
