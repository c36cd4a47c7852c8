"""The figures of methods and of λ: from facts to plotly, with captions that say what is drawn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from bilevel_hpo import plots
from gate_model.report._differences import difference_facts, differences, task_differences
from gate_model.report._facts import MethodFacts, ReportFacts
from gate_model.report._lambda_words import strongest
from gate_model.report._page_figure import PageFigure
from gate_model.report._words import label

__all__ = ["against_control", "other_maps", "ratio_maps", "trajectories", "transfers", "validation"]

_MAX_GRAPH_EDGES = 60


def against_control(facts: ReportFacts) -> Iterator[PageFigure]:
    """All methods against the control, first over all tasks, then task by task."""
    found = difference_facts(facts)
    if found is None:
        return
    several = " Line: 95 % interval with other seeds; ticks: the seeds." if np.isfinite(found.low).any() else ""
    yield PageFigure(
        "differences",
        f"Every method against {found.reference}",
        f"RMSE averaged over the tasks, against that of {found.reference}; left of the line is better.{several}",
        differences(found),
        found.to_frame(),
        height=120 + 40 * len(found.methods),
    )
    yield PageFigure(
        "task-differences",
        f"Every task against {found.reference}",
        f"RMSE of a task divided by that of {found.reference}, mean over the seeds, as a difference; left of the line "
        f"is better. Tasks in the order of {found.methods[0]}. A click on a name in the legend hides a method.",
        task_differences(found),
        found.tasks_frame(),
        height=170 + (26 if len(found.tasks) <= 12 else 18) * len(found.tasks),
    )


def ratio_maps(facts: ReportFacts, method: MethodFacts) -> Iterator[PageFigure]:
    """λ of one method, its spread over the seeds, and its asymmetry, all three in the same clustered order."""
    T = len(facts.tasks)
    if method not in _choosing(facts):
        return
    order = "cluster" if T > 2 else "given"
    after = " Tasks that teach and learn alike stand together." if T > 2 else ""
    over = f" Mean over {len(method.seeds)} seeds." if len(method.seeds) > 1 else ""
    caption = f"Row: target, column: source. Largest: {strongest(facts, method, 3)}.{over}{after}"
    yield _map(facts, method, f"heatmap-{method.name}", "λ", caption, order=order)
    if len(method.seeds) > 1:
        caption = f"Standard deviation of λ over {len(method.seeds)} seeds, tasks in the same order."
        yield _map(facts, method, "heatmap-std", "Spread over the seeds", caption, order=order, show="std")
    if method.group == "learned":
        caption = "λ from the column to the row minus λ from the row to the column: which of the two teaches more."
        yield _map(facts, method, "heatmap-asymmetry", "Asymmetry", caption, order=order, show="asymmetry")


def other_maps(facts: ReportFacts, without: MethodFacts) -> Iterator[PageFigure]:
    """Mean λ of the other methods that chose it, all on one scale."""
    others = [method for method in _choosing(facts) if method is not without]
    if not others:
        return
    off = ~np.eye(len(facts.tasks), dtype=bool)
    high = max(float(method.lambda_.mean(axis=0)[off].max()) for method in others)
    for method in others:
        over = f" Mean over {len(method.seeds)} seeds." if len(method.seeds) > 1 else ""
        caption = f"Largest: {strongest(facts, method, 3)}.{over}"
        yield _map(facts, method, f"heatmap-{method.name}", method.title, caption, high=high)


def transfers(facts: ReportFacts, method: MethodFacts) -> Iterator[PageFigure]:
    """Directed graph of the strongest λ."""
    T = len(facts.tasks)
    if T < 3 or method not in _choosing(facts):
        return
    mean, std = facts.mean_ratios(method), facts.std_ratios(method)
    top = min(2 * T, T * (T - 1), _MAX_GRAPH_EDGES)
    yield PageFigure(
        "transfer-graph",
        "Who teaches whom",
        "Wide and dark arrows are large λ; hover a task for what it learns and teaches in all.",
        plots.transfer_graph(mean, std, top=top),
        plots.transfer_graph_facts(mean, std, top=top).to_frame(),
        height=460 if T <= 12 else 680,
        min_width=0 if T <= 12 else 560,
    )


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
        yield PageFigure(
            f"trajectory-{method.name}",
            method.title,
            caption,
            plots.trajectory(wide),
            plots.trajectory_facts(wide).to_frame(),
            360,
        )


def validation(facts: ReportFacts) -> Iterator[PageFigure]:
    """Validation curves over epochs and over seconds, there beside the best so far of the searches."""
    history, trials = facts.files.history, facts.files.trials
    if history.empty:
        return
    long = history.rename(columns={"val_rmse": "val"}).assign(method=history["method"].map(label))
    band = " Line: mean over the seeds; band: ± one standard deviation." if long["seed"].nunique() > 1 else ""
    what = f"RMSE on the selection molecules, mean over tasks, standardised labels.{band}"
    cut = " The first epochs may run off the top; a double click shows all."
    over_epochs = plots.convergence_facts(long)
    heights = _late_range(over_epochs)
    figure = plots.convergence(long, label="RMSE, selection")
    figure.update_yaxes(range=heights, tickformat=".3~f")
    yield PageFigure("validation-epoch", "Over epochs", what + cut, figure, over_epochs.to_frame(), 380)

    searches = None
    if trials is not None and np.isfinite(trials["val_rmse"]).any():
        searches = trials.rename(columns={"val_rmse": "val", "wall_s": "seconds"})
        searches = searches.assign(method=searches["method"].map(label))[["method", "seed", "seconds", "val"]]
        searches = searches.groupby("method", sort=False).filter(lambda rows: bool(np.isfinite(rows["val"]).any()))
    figure = plots.convergence(long, x="seconds", label="RMSE, selection", searches=searches)
    figure.update_yaxes(range=heights, tickformat=".3~f")
    caption = f"{what} An epoch stands at its mean time over the seeds."
    if searches is not None:
        figure.update_xaxes(type="log")
        caption += " Searches: best training so far, one after the other; the axis of seconds is logarithmic."
    over_seconds = plots.convergence_facts(long, x="seconds", searches=searches)
    yield PageFigure("validation-seconds", "Over seconds", caption + cut, figure, over_seconds.to_frame(), 380)


def _late_range(facts: plots.ConvergenceFacts) -> list[float]:
    """So that the last four fifths of the epochs fill the figure: the fall at the start hides all differences."""
    low = min(float(np.nanmin(curve.mean - curve.std)) for curve in facts.curves.values())
    late = [(curve.mean + curve.std)[len(curve.mean) // 5 :] for curve in facts.curves.values()]
    high = max(float(np.nanmax(values)) for values in late)
    return [low - 0.05 * (high - low), high + 0.05 * (high - low)]


def _choosing(facts: ReportFacts) -> list[MethodFacts]:
    """The methods that chose a λ for each pair: a map of one λ for all would say nothing."""
    groups = ("learned",) if facts.shared else ("learned", "search")
    return [method for method in facts.methods if method.group in groups and len(facts.tasks) > 1]


def _map(facts: ReportFacts, method: MethodFacts, id_: str, title: str, caption: str, **style: Any) -> PageFigure:
    T = len(facts.tasks)
    mean, std = facts.mean_ratios(method), facts.std_ratios(method)
    return PageFigure(
        id_,
        title,
        caption,
        plots.ratio_heatmap(mean, std, diagonal=False, **style),
        plots.ratio_heatmap_facts(mean, std, diagonal=False, **style).to_frame(),
        height=max(320, 170 + 18 * T),
        min_width=0 if T <= 12 else 330 + 15 * T,
    )
