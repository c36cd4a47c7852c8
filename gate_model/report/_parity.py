"""Plots of predictions against labels for the test molecules, one figure for each task."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo import plots
from bilevel_hpo.report import PageFigure, ReportFacts

__all__ = ["DRAWN_POINTS", "parity"]

DRAWN_POINTS = 8_000
"""Number of points that are drawn for all tasks together. If there are more, a random part of each task is drawn, so
that the page stays small."""

_BINNED = 1000
"""If a figure has more points, `plots.parity` counts them in bins instead of drawing each point."""


def parity(
    facts: ReportFacts, rows: pd.DataFrame, units: Mapping[str, str], rmse: NDArray[np.float64]
) -> Iterator[PageFigure]:
    """Yield one figure for each task with the predictions of a method for all seeds.

    Every seed has its own test molecules.

    Args:
        facts: the facts of the run.
        rows: predictions of the method; columns seed, smiles, task, y_true and y_pred.
        units: unit of each task.
        rmse: RMSE of the method in these units, `[S, T]`.
    """
    rows = rows.dropna(subset=["y_true", "y_pred"])
    limit = max(200, DRAWN_POINTS // len(facts.tasks))
    for column, task in enumerate(facts.tasks):
        here = rows[rows["task"] == task]
        here = here.assign(place=range(len(here)))
        if here.empty:
            continue
        unit = units[task]
        names = [f"{smiles}, seed {seed:g}" for smiles, seed in zip(here["smiles"], here["seed"], strict=True)]
        found = plots.parity_facts(here["y_true"], here["y_pred"], task=task, unit=unit, names=names)
        caption = _caption(float(np.nanmean(rmse[:, column])), found)
        drawn = here
        if limit < found.n <= _BINNED:
            caption += f", {limit} of them drawn"
            drawn = here.sample(limit, random_state=0)
        figure = plots.parity(drawn["y_true"], drawn["y_pred"], unit=unit, names=[names[i] for i in drawn["place"]])
        figure.update_layout(title=None, margin={"t": 16})  # the caption says it
        yield PageFigure(f"parity-{column}", task, caption + ".", figure, found.to_frame(), 300)


def _caption(rmse: float, found: plots.ParityFacts) -> str:
    r2 = "" if np.isnan(found.r2) else f", R² {found.r2:.3f}"
    return f"RMSE {rmse:.4g} {found.unit}".rstrip() + f"{r2}; {found.n} predictions"
