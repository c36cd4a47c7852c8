"""Predicted against given labels of the test molecules, one figure per task."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo import plots
from bilevel_hpo.report import PageFigure, ReportFacts

__all__ = ["DRAWN_POINTS", "parity"]

DRAWN_POINTS = 8_000
"""Of all tasks together; beyond it an even random part of each task is drawn, so that the page stays small."""

_BINNED = 1000
"""`plots.parity` counts more points than these in bins instead of drawing each."""


def parity(
    facts: ReportFacts, rows: pd.DataFrame, units: Mapping[str, str], rmse: NDArray[np.float64]
) -> Iterator[PageFigure]:
    """All predictions of a method, every seed with its own test molecules.

    Args:
        facts: of the run.
        rows: the method's predictions: seed, smiles, task, y_true, y_pred.
        units: of the tasks.
        rmse: of the method in these units, `[S, T]`.
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
