"""The search landscape of a comparison: the trials of all seeds on one scale, with the learned λ."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo.plots import LandscapeFacts
from bilevel_hpo.report._facts import MethodFacts, ReportFacts
from bilevel_hpo.report._lambda_figures import histories
from bilevel_hpo.report._words import label

__all__ = ["MOST_DRAWN", "drawn_axes", "learned_paths", "levelled_trials", "search_landscape"]

MOST_DRAWN = 6
"""λ of a search that can be drawn in slices."""
_SAME_SUM = 1e-5
"""Relative; λ are written in the precision that they were trained in."""


def drawn_axes(facts: ReportFacts) -> tuple[str, ...]:
    """Returns the free λ of the search: all, or all but the last if they have the same sum in every trial.

    The λ of a budget have such a sum: the last follows from the others, and there is a dimension less to draw.
    """
    trials, axes = facts.files.trials, facts.parameters
    if trials is None or len(axes) < 2 or len(trials) < 2:
        return axes
    total = trials[list(axes)].sum(axis=1).to_numpy()
    return axes[:-1] if np.ptp(total) <= _SAME_SUM * abs(total[0]) else axes


def search_landscape(facts: ReportFacts) -> LandscapeFacts | None:
    """Returns the trials of all searches over two to six λ; None for another number, or without trials."""
    trials = facts.files.trials
    axes = drawn_axes(facts)
    if trials is None or not np.isfinite(trials["selection"]).any() or not 2 <= len(axes) <= MOST_DRAWN:
        return None
    paths, names = [], []
    for method in facts.methods:
        if method.group == "learned":
            for path in learned_paths(facts, method, axes):
                paths.append(path)
                names.append(method.name)
    return LandscapeFacts.from_frame(
        levelled_trials(trials),
        axes,
        "level",
        group="kind",
        seconds="wall_s",
        learned=paths,
        names=names,
        maximize=facts.metric.higher_is_better,
        objective=f"{facts.metric.name}, selection data",
    )


def levelled_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns the trials with `kind`, the shown name of their search, and `level`, their score on a scale of all seeds.

    Each seed has its own split, hence its own level. If every seed has a grid, the levels of the seeds (the mean
    over the grid) are set to their common mean, so that points of different seeds can be compared. Grid points are then
    means over the seeds; points of the other searches are single trainings. Trainings that diverged are left out.
    """
    trials = trials[np.isfinite(trials["selection"])]
    return trials.assign(level=_levels(trials), kind=trials["method"].map(label))


def learned_paths(facts: ReportFacts, method: MethodFacts, axes: Sequence[str]) -> Sequence[NDArray[np.float64]]:
    """Returns λ of a learned method over the epochs on the axes of the search, `[epochs + 1, axes]` per seed.

    An axis is a λ by its label, `source->target`, or `a|b`: the mean of both directions. There is no path if an axis is
    none of these.
    """
    paths = []
    for _, rows in histories(facts, method).groupby("seed"):
        wide = rows.pivot_table(index="epoch", columns="name", values="lambda")
        columns = [_on_axis(axis, wide) for axis in axes]
        found = [column for column in columns if column is not None and np.isfinite(column).all()]
        if len(found) == len(columns):
            paths.append(np.stack(found, axis=1))
    return paths


def _on_axis(axis: str, wide: pd.DataFrame) -> NDArray[np.float64] | None:
    pairs = [(axis[:i], axis[i + 1 :]) for i, letter in enumerate(axis) if letter == "|"]
    names = [(axis,), (axis.replace("->", " → "),), *((f"{a} → {b}", f"{b} → {a}") for a, b in pairs)]
    found = next((each for each in names if all(name in wide.columns for name in each)), None)
    return None if found is None else wide[list(found)].to_numpy(dtype=np.float64).mean(axis=1)


def _levels(trials: pd.DataFrame) -> "pd.Series[float]":
    grid = trials[trials["method"] == "grid"].groupby("seed")["selection"].mean()
    if set(grid.index) != set(trials["seed"]):
        return trials["selection"]
    return trials["selection"] - trials["seed"].map(grid) + float(grid.mean())
