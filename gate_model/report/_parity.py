"""Predicted against given labels of the test molecules, one figure per task."""

from collections.abc import Iterator

import numpy as np

from bilevel_hpo import plots
from gate_model.report._facts import MethodFacts, ReportFacts
from gate_model.report._page_figure import PageFigure

__all__ = ["DRAWN_POINTS", "parity"]

DRAWN_POINTS = 12_000
"""Of all tasks together; beyond it an even random part of each task is drawn, so that the page stays small."""

_BINNED = 1000
"""`plots.parity` counts more points than these in bins instead of drawing each."""


def parity(facts: ReportFacts, method: MethodFacts) -> Iterator[PageFigure]:
    """All predictions of the method, every seed with its own test molecules."""
    rows = facts.files.predictions
    rows = rows[rows["method"] == method.name].dropna(subset=["y_true", "y_pred"])
    limit = max(200, DRAWN_POINTS // len(facts.tasks))
    for column, task in enumerate(facts.tasks):
        here = rows[rows["task"] == task]
        if here.empty:
            continue
        unit = facts.task_info[task].get("unit", "")
        rmse = float(np.nanmean(method.test_rmse_units[:, column]))
        caption = f"RMSE {rmse:.4g} {unit}".rstrip() + f"; {len(here)} predictions"
        if limit < len(here) <= _BINNED:
            caption += f", {limit} of them drawn"
            here = here.sample(limit, random_state=0)
        names = [f"{smiles}, seed {seed:g}" for smiles, seed in zip(here["smiles"], here["seed"], strict=True)]
        arrays = here["y_true"].to_numpy(), here["y_pred"].to_numpy()
        figure = plots.parity(*arrays, task=task, unit=unit, names=names)
        table = here[["seed", "smiles", "y_true", "y_pred"]].reset_index(drop=True)
        yield PageFigure(f"parity-{column}", task, caption + ".", figure, table, 300)
