"""The figures of the page: from facts to plotly, with captions that say what is drawn."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from bilevel_hpo import plots
from gate_model.report._answer import label
from gate_model.report._facts import MethodFacts, ReportFacts
from gate_model.report._landscape import search_landscape

__all__ = ["DRAWN_POINTS", "PageFigure", "heatmaps", "landscape", "parity", "trajectories", "validation"]

DRAWN_POINTS = 12_000
"""Of all parity plots together; beyond it an even random part is drawn, so that the page stays quick."""


@dataclass(frozen=True)
class PageFigure:
    """One figure of the page; all text is plain and escaped by the template."""

    id: str
    title: str
    caption: str
    figure: go.Figure
    height: int
    """Pixels."""
    min_width: int = 0
    """Pixels below which the figure scrolls in its container."""


def landscape(facts: ReportFacts) -> PageFigure | None:
    """Figure 1, if three symmetric λ were searched."""
    found = search_landscape(facts)
    if found is None:
        return None
    best = []
    for kind, row in found.best.items():
        at = ", ".join(f"{name} {value:.2f}" for name, value in zip(found.params, found.points[row], strict=True))
        best.append(f"best of {kind}: RMSE {found.values[row]:.4f} at λ {at}")
    several = found.counts.max() > 1
    caption = (
        f"Each point is one choice of three symmetric λ; its colour is the RMSE on the selection molecules. "
        f"Stars: {'; '.join(best)}. "
    )
    if several:
        caption += (
            f"Grid points are means over {found.counts.max()} seeds, TPE points single trainings; each seed's own "
            "level (its mean over the grid) is taken out, so that colours of different splits can be compared. "
        )
    if found.trajectories:
        caption += (
            "Lines lead from the start of each learned λ (open circle) to its end (diamond), one line per seed. "
            "Learned λ is asymmetric while the search is symmetric: drawn is the mean of λ from A to B and λ from B to "
            "A, in units of the direct path."
        )
    figure = plots.landscape(found)
    return PageFigure("landscape", "Where the search went, and where λ went by itself", caption, figure, 560)


def heatmaps(facts: ReportFacts) -> Iterator[PageFigure]:
    """Mean λ over the seeds of each learned or searched method, all on one scale."""
    shown = [method for method in facts.methods if method.group != "constant"]
    off = ~np.eye(len(facts.tasks), dtype=bool)
    if not off.any():
        return
    high = max((float(np.nanmax(method.lambda_.mean(axis=0)[off])) for method in shown), default=0.0)
    T = len(facts.tasks)
    names = max(len(task) for task in facts.tasks)
    for method in shown:
        mean = facts.mean_ratios(method)
        std = None
        if len(method.seeds) > 1:
            std = pd.DataFrame(method.lambda_.std(axis=0, ddof=1), index=mean.index, columns=mean.columns)
        yield PageFigure(
            f"heatmap-{method.name}",
            method.title,
            _strongest(mean) + (f" Mean over {len(method.seeds)} seeds." if std is not None else ""),
            plots.ratio_heatmap(mean, std, diagonal=False, high=high),
            height=max(300, 150 + 18 * T),
            min_width=0 if T <= 12 else 160 + 7 * min(names, 20) + 15 * T,
        )


def validation(facts: ReportFacts) -> Iterator[PageFigure]:
    """Validation curves over epochs and over seconds."""
    history = facts.files.history
    if history.empty:
        return
    long = history.rename(columns={"val_rmse": "val"}).assign(method=history["method"].map(label))
    cut = " The first epochs may run off the top; a double click shows all."
    band = " Line: mean over the seeds; band: ± one standard deviation." if long["seed"].nunique() > 1 else ""
    what = "RMSE on the selection molecules, mean over tasks, standardised labels."
    after = " An epoch stands at its mean time over the seeds." if band else ""
    titles = {
        "epoch": ("Over epochs", what + band + cut),
        "seconds": ("Over seconds of training", what + band + after + cut),
    }
    for x, (title, caption) in titles.items():
        figure = plots.convergence(long, x="epoch" if x == "epoch" else "seconds", label="RMSE, selection")
        figure.update_yaxes(range=_late_range(plots.convergence_facts(long)), tickformat=".3~f")
        yield PageFigure(f"validation-{x}", title, caption, figure, 360)


def _late_range(facts: plots.ConvergenceFacts) -> list[float]:
    """So that the last four fifths of the epochs fill the figure: the fall at the start hides all differences."""
    low = min(float(np.nanmin(curve.mean - curve.std)) for curve in facts.curves.values())
    late = [(curve.mean + curve.std)[len(curve.mean) // 5 :] for curve in facts.curves.values()]
    high = max(float(np.nanmax(values)) for values in late)
    return [low - 0.05 * (high - low), high + 0.05 * (high - low)]


def trajectories(facts: ReportFacts) -> Iterator[PageFigure]:
    """λ over the epochs, mean over the seeds, one figure per learned method."""
    history = facts.files.ratios_history
    for method in facts.methods:
        rows = history[history["method"] == method.name]
        if method.group != "learned" or rows.empty:
            continue
        wide = rows.pivot_table(index="epoch", columns=["source", "target"], values="lambda", sort=False)
        wide.columns = pd.Index([" → ".join(pair) for pair in wide.columns.to_flat_index()])
        over = f", mean over {len(method.seeds)} seeds" if len(method.seeds) > 1 else ""
        caption = f"λ from source → target in units of the direct path{over}; epoch 0 is the start."
        if wide.shape[1] > 12:
            caption += f" Too many for lines: median and quantiles of the {wide.shape[1]} λ."
        yield PageFigure(f"trajectory-{method.name}", method.title, caption, plots.trajectory(wide), 360)


def parity(facts: ReportFacts, method: MethodFacts) -> Iterator[PageFigure]:
    """Predicted against given labels of the test molecules, one figure per task."""
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
        if len(here) > limit:
            caption += f", {limit} of them drawn"
            here = here.sample(limit, random_state=0)
        yield PageFigure(f"parity-{column}", task, caption + ".", _parity(here, unit), 290)


def _parity(rows: pd.DataFrame, unit: str) -> go.Figure:
    low = float(min(rows["y_true"].min(), rows["y_pred"].min()))
    high = float(max(rows["y_true"].max(), rows["y_pred"].max()))
    hover = [
        f"{plots.as_text(smiles)}<br>label {true:.5g}<br>predicted {predicted:.5g}<br>seed {seed:g}"
        for smiles, true, predicted, seed in zip(
            rows["smiles"], rows["y_true"], rows["y_pred"], rows["seed"], strict=True
        )
    ]
    figure = go.Figure(layout={"template": plots.TEMPLATE, "showlegend": False})
    figure.add_scatter(
        x=[low, high], y=[low, high], mode="lines", line={"color": plots.PALETTE[1], "width": 1}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=rows["y_true"].to_numpy(),
        y=rows["y_pred"].to_numpy(),
        mode="markers",
        marker={"color": plots.PALETTE[0], "size": 5, "opacity": 0.5},
        hovertext=hover,
        hoverinfo="text",
    )
    after = f" ({plots.as_text(unit)})" if unit else ""
    figure.update_xaxes(title_text=f"label{after}", nticks=5)
    figure.update_yaxes(title_text=f"predicted{after}", nticks=5)
    return figure


def _strongest(mean: pd.DataFrame) -> str:
    found = [
        (float(mean.loc[target, source]), source, target)
        for target in mean.index
        for source in mean.columns
        if target != source
    ]
    found.sort(key=lambda entry: entry[0], reverse=True)
    listed = ", ".join(f"{source} → {target} {value:.2f}" for value, source, target in found[:3])
    return f"Largest λ: {listed}; median {np.median([f[0] for f in found]):.2f}."
