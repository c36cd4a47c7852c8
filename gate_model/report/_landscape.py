"""The search landscape of a comparison: all seeds' trials on one scale, and the learned λ among them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo.plots import LandscapeFacts
from gate_model.report._facts import MethodFacts, ReportFacts

__all__ = ["MOST_DRAWN", "levelled_trials", "search_landscape", "symmetric_paths"]

MOST_DRAWN = 6
"""λ of a search that can be drawn in slices."""


def search_landscape(facts: ReportFacts) -> LandscapeFacts | None:
    """Trials of grid and TPE over two to six symmetric λ; None if the search had another number, or no trials."""
    trials = facts.files.trials
    if trials is None or not np.isfinite(trials["val_rmse"]).any() or not 2 <= len(facts.parameters) <= MOST_DRAWN:
        return None
    paths, names = [], []
    for method in facts.methods:
        if method.group == "learned":
            for path in symmetric_paths(facts, method):
                paths.append(path)
                names.append(method.name)
    return LandscapeFacts.from_frame(
        levelled_trials(trials),
        facts.parameters,
        "level",
        group="kind",
        seconds="wall_s",
        learned=paths,
        names=names,
        objective="RMSE, selection molecules",
    )


def levelled_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with `kind`, their search as people call it, and `level`, their RMSE on a scale of all seeds.

    Each seed has a split of its own, hence a level of its own. Where every seed has a grid, the seeds' levels (the mean
    over the grid) are set to their common mean, so that points of different seeds can be compared. Grid points are then
    means over the seeds; TPE points are single trainings. Trainings that diverged are left out.
    """
    trials = trials[np.isfinite(trials["val_rmse"])]
    kinds = {"grid": "grid", "tpe": "TPE"}
    return trials.assign(level=_levels(trials), kind=trials["method"].map(lambda name: kinds.get(name, name)))


def symmetric_paths(facts: ReportFacts, method: MethodFacts) -> Sequence[NDArray[np.float64]]:
    """λ of a learned method over the epochs, `[epochs + 1, parameters]` per seed: the mean of both directions."""
    history = facts.files.ratios_history
    history = history[history["method"] == method.name]
    paths = []
    for _, rows in history.groupby("seed"):
        wide = rows.pivot_table(index="epoch", columns=["target", "source"], values="lambda")
        pairs = [facts.pair(parameter) for parameter in facts.parameters]
        if all((a, b) in wide.columns and (b, a) in wide.columns for a, b in pairs):
            columns = [(wide[(a, b)] + wide[(b, a)]).to_numpy(dtype=np.float64) / 2 for a, b in pairs]
            paths.append(np.stack(columns, axis=1))
    return paths


def _levels(trials: pd.DataFrame) -> "pd.Series[float]":
    grid = trials[trials["method"] == "grid"].groupby("seed")["val_rmse"].mean()
    if set(grid.index) != set(trials["seed"]):
        return trials["val_rmse"]
    return trials["val_rmse"] - trials["seed"].map(grid) + float(grid.mean())
