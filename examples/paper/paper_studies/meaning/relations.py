"""The properties of a quantity over ordered pairs of tasks, measured for several seeds: a learned λ, or a gain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paper_studies.meaning.chemistry import Standing, close_among, standing
from paper_studies.meaning.pair_ranks import (
    VIEWS,
    View,
    between_seeds,
    correlation,
    reliability,
    renaming_p,
    without_levels,
)
from paper_studies.meaning.variance import Variance, variance_parts

__all__ = ["Agreement", "Relations", "agreement", "relations"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How far the means over seeds of two quantities agree."""

    rho: float
    """Rank correlation; NaN if one of them does not vary."""
    p: float
    """One-sided p, from random renamings of the tasks."""
    ceiling: float
    """The highest correlation that their reliabilities allow."""


@dataclass(frozen=True)
class Relations:
    """The properties of one quantity y `[S, T, T]`."""

    seeds: dict[View, list[tuple[int, int, float]]]
    """(place, place, ρ) for every two seeds."""
    reliability: dict[View, float]
    """Reliability of the mean over the seeds."""
    variance: Variance
    chemistry: dict[View, dict[str, Standing]]
    """Places of the close pairs by kind ("rule", "definition") and for "all"; kinds without a pair are left out."""
    labels: dict[View, Agreement]
    """Agreement with the correlations of the labels, which are taken as free of error."""

    def mean(self, view: View) -> float:
        """Return the mean of ρ over all pairs of seeds."""
        return float(np.mean([rho for _, _, rho in self.seeds[view]]))

    def std(self, view: View) -> float:
        """Return the standard deviation of ρ over all pairs of seeds; NaN if there are only two seeds."""
        found = [rho for _, _, rho in self.seeds[view]]
        return float(np.std(found, ddof=1)) if len(found) > 1 else float("nan")


def relations(y: Array, tasks: Sequence[str], labels: Array) -> Relations:
    """Return the properties of y.

    Args:
        y: values `[S, T, T]`, finite off the diagonal; S is at least 2, T at least 3.
        tasks: names of rows and columns.
        labels: correlation between the labels of two tasks `[T, T]`.
    """
    seeds = {view: between_seeds(y, view) for view in VIEWS}
    reliabilities = {view: reliability([rho for _, _, rho in seeds[view]], len(y)) for view in VIEWS}
    mean = y.mean(0)
    close = close_among(tasks)
    kinds = {"all": close, **{kind: [pair for pair in close if pair.kind == kind] for kind in ("rule", "definition")}}
    ranked: dict[View, Array] = {"all pairs": mean, "pairs alone": without_levels(mean)}
    return Relations(
        seeds,
        reliabilities,
        variance_parts(y),
        {
            view: {kind: standing(matrix, tasks, pairs) for kind, pairs in kinds.items() if pairs}
            for view, matrix in ranked.items()
        },
        {view: agreement(mean, labels, view, (reliabilities[view], 1.0)) for view in VIEWS},
    )


def agreement(a: Array, b: Array, view: View, reliabilities: tuple[float, float]) -> Agreement:
    """Return how far two means over seeds `[T, T]` with these reliabilities agree."""
    return Agreement(
        correlation(a, b, view), renaming_p(a, b, view), float(np.sqrt(reliabilities[0] * reliabilities[1]))
    )
