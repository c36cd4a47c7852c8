"""Compare the methods with the control: over all tasks with an interval, and task by task."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo import plots
from bilevel_hpo.report._facts import MethodFacts, ReportFacts
from bilevel_hpo.report._parts import PageFigure
from bilevel_hpo.report._words import better_side, gap_axis, label, on_scale
from bilevel_hpo.statistics import Paired

__all__ = ["DifferenceFacts", "against_control", "difference_facts", "task_by_task"]

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
_MOST_BY_TASK = 8
"""Methods whose tasks are drawn from the start; a click on the legend shows another."""
_CROWDED = 12


@dataclass(frozen=True, eq=False)
class DifferenceFacts:
    """M methods compared with one reference; differences in per cent of its score, or in scores without a ratio."""

    reference: str
    """Label of the method that the others are compared with."""
    methods: tuple[str, ...]
    """Labels, best first, `[M]`."""
    percent: bool
    """In per cent of the reference; else as the scores are."""
    mean: NDArray[np.float64]
    """The mean difference of the score averaged over the tasks, `[M]`."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """95 % interval over the seeds, `[M]`; NaN for one seed."""
    by_seed: tuple[NDArray[np.float64], ...]
    """One array `[seeds]` for each method."""
    tasks: tuple[str, ...]
    """With scores, in the order of the best method: what it helped most comes first, `[T]`."""
    by_task: NDArray[np.float64]
    """Mean over the seeds, `[M, T]`."""

    @property
    def column(self) -> str:
        """The name of a difference in tables."""
        return "difference_percent" if self.percent else "difference"

    def to_frame(self) -> pd.DataFrame:
        """Returns one row per method: method, reference, difference or difference_percent, low, high."""
        columns = {self.column: self.mean, "low": self.low, "high": self.high}
        return pd.DataFrame({"method": self.methods, "reference": self.reference} | columns)

    def tasks_frame(self) -> pd.DataFrame:
        """Returns the differences, with a row per task and a column per method."""
        return pd.DataFrame(self.by_task.T, index=pd.Index(self.tasks, name="task"), columns=list(self.methods))

    def said(self, value: float) -> str:
        """Returns the hover text of a difference."""
        return f"{value:+.2f} %" if self.percent else f"{value:+.4g}"


def difference_facts(facts: ReportFacts) -> DifferenceFacts | None:
    """Returns the differences to the control; None without a control or another method."""
    reference, found = facts.control, list[tuple[MethodFacts, Paired]]()
    for method in facts.methods:
        if reference is not None and method is not reference:
            difference = facts.difference(method, reference)
            found += [] if difference is None else [(method, difference)]
    if not found or reference is None:
        return None
    found.sort(key=lambda pair: facts.metric.loss(pair[1].difference))
    percent = facts.scale == "ratio"
    by_task = np.stack([100 * (each.by_task - 1) if percent else each.by_task for _, each in found])
    gain = -by_task[0] if facts.metric.higher_is_better else by_task[0]
    order = [column for column in np.argsort(gain, kind="stable") if np.isfinite(by_task[:, column]).any()]
    return DifferenceFacts(
        reference=label(reference.name),
        methods=tuple(label(method.name) for method, _ in found),
        percent=percent,
        mean=np.array([on_scale(each, each.difference) for _, each in found]),
        low=np.array([on_scale(each, each.low) for _, each in found]),
        high=np.array([on_scale(each, each.high) for _, each in found]),
        by_seed=tuple(each.by_seed * (100 / each.reference if percent else 1) for _, each in found),
        tasks=tuple(facts.tasks[column] for column in order),
        by_task=by_task[:, order],
    )


def against_control(facts: ReportFacts) -> Iterator[PageFigure]:
    """Draws all methods against the control, over all tasks."""
    found = difference_facts(facts)
    if found is None:
        return
    several = " Line: 95 % interval with other seeds; ticks: the seeds." if np.isfinite(found.low).any() else ""
    averaged = " averaged over the tasks" if len(facts.tasks) > 1 else ""
    M = len(found.methods)
    yield PageFigure(
        "differences",
        f"Every method against {found.reference}",
        f"Test {facts.metric.name}{averaged}, against that of {found.reference}; {better_side(facts)}.{several}",
        _methods(facts, found),
        found.to_frame(),
        height=120 + (40 if M <= _CROWDED else 22) * M,
    )


def task_by_task(facts: ReportFacts) -> Iterator[PageFigure]:
    """Draws the same for each task; nothing for a single task."""
    found = difference_facts(facts)
    if found is None or len(found.tasks) < 2:
        return
    compared = (
        f"divided by that of {found.reference}, mean over the seeds, as a difference"
        if found.percent
        else f"minus that of {found.reference}, mean over the seeds"
    )
    yield PageFigure(
        "task-differences",
        f"Every task against {found.reference}",
        f"Test {facts.metric.name} of a task {compared}; {better_side(facts)}. Tasks in the order of "
        f"{found.methods[0]}. A click on a name in the legend hides or shows a method.",
        _tasks(facts, found),
        found.tasks_frame(),
        height=170 + (26 if len(found.tasks) <= _CROWDED else 18) * len(found.tasks),
    )


def _methods(facts: ReportFacts, found: DifferenceFacts) -> go.Figure:
    """Draws a row for each method: mean, interval, and a tick for each seed."""
    figure = _figure()
    rows = list(range(len(found.methods)))
    ticks = [(row, seeds) for row, seeds in enumerate(found.by_seed) if len(seeds) > 1]
    if ticks:
        figure.add_scatter(
            x=np.concatenate([seeds for _, seeds in ticks]),
            y=np.concatenate([np.full(len(seeds), row) for row, seeds in ticks]),
            mode="markers",
            name="a seed",
            marker={"symbol": "line-ns-open", "size": 12, "color": plots.PALETTE[1], "line": {"width": 1.5}},
            hovertext=[f"a seed: {found.said(value)}" for _, seeds in ticks for value in seeds],
            hoverinfo="text",
        )
    interval = np.isfinite(found.low).any()
    error = {"array": found.high - found.mean, "arrayminus": found.mean - found.low, "thickness": 2, "width": 6}
    figure.add_scatter(
        x=found.mean,
        y=rows,
        mode="markers",
        name="mean and 95 % interval" if interval else "mean" if ticks else "the one seed",
        marker={"size": 10, "color": plots.PALETTE[0]},
        error_x=error | {"color": plots.PALETTE[0]} if interval else None,
        hovertext=[_hover(found, row) for row in rows],
        hoverinfo="text",
    )
    figure.update_yaxes(tickvals=rows, ticktext=[plots.as_label(name) for name in found.methods], showgrid=False)
    figure.update_yaxes(range=[len(rows) - 0.5, -0.5])
    figure.update_xaxes(title_text=plots.as_text(gap_axis(facts, found.reference)))
    return figure


def _tasks(facts: ReportFacts, found: DifferenceFacts) -> go.Figure:
    """Draws a row for each task and a mark for each method; the legend turns methods off and on."""
    figure = _figure()
    rows = np.arange(len(found.tasks))
    for index, (name, values) in enumerate(zip(found.methods, found.by_task, strict=True)):
        figure.add_scatter(
            x=values,
            y=rows,
            mode="markers",
            name=plots.as_label(name),
            visible=True if index < _MOST_BY_TASK else "legendonly",
            marker={
                "symbol": _SYMBOLS[(index + index // len(plots.PALETTE)) % len(_SYMBOLS)],
                "size": 9,
                "color": plots.PALETTE[index % len(plots.PALETTE)],
                "opacity": 0.85,
            },
            hovertext=[
                f"{plots.as_hover(task)}<br>{plots.as_hover(name)}: {found.said(value)}"
                for task, value in zip(found.tasks, values, strict=True)
            ],
            hoverinfo="text",
        )
    figure.update_yaxes(tickvals=rows, ticktext=[plots.as_label(task) for task in found.tasks])
    figure.update_yaxes(range=[len(rows) - 0.5, -0.5])
    figure.update_xaxes(title_text=plots.as_text(gap_axis(facts, found.reference)))
    return figure


def _figure() -> go.Figure:
    figure = go.Figure(layout={"template": plots.TEMPLATE})
    figure.add_vline(x=0, line={"color": "#808692", "width": 1})
    return figure


def _hover(found: DifferenceFacts, row: int) -> str:
    text = f"{plots.as_hover(found.methods[row])}: {found.said(found.mean[row])}"
    if np.isfinite(found.low[row]):
        text += f"<br>95 % interval {found.said(found.low[row])} to {found.said(found.high[row])}"
    return text
