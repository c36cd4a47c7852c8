"""The methods against the control: over all tasks with an interval, and task by task."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo import plots
from gate_model.report._facts import Difference, MethodFacts, ReportFacts
from gate_model.report._words import label

__all__ = ["DifferenceFacts", "difference_facts", "differences", "task_differences"]

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


@dataclass(frozen=True, eq=False)
class DifferenceFacts:
    """M methods against one reference; differences in per cent of the reference's RMSE, negative = better."""

    reference: str
    """Label of the method that the others are compared with."""
    methods: tuple[str, ...]
    """Labels, best first, `[M]`."""
    mean: NDArray[np.float64]
    """Of the RMSE averaged over the tasks, `[M]`."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """95 % interval over the seeds, `[M]`; NaN for one seed."""
    by_seed: tuple[NDArray[np.float64], ...]
    """One array `[seeds]` for each method."""
    tasks: tuple[str, ...]
    """With test labels, in the order of the best method: what it helped most comes first, `[T]`."""
    by_task: NDArray[np.float64]
    """Mean over the seeds, `[M, T]`."""

    def to_frame(self) -> pd.DataFrame:
        """One row per method: method, reference, difference_percent, low, high."""
        columns = {"difference_percent": self.mean, "low": self.low, "high": self.high}
        return pd.DataFrame({"method": self.methods, "reference": self.reference} | columns)

    def tasks_frame(self) -> pd.DataFrame:
        """One row per task, a column per method: the difference in per cent."""
        return pd.DataFrame(self.by_task.T, index=pd.Index(self.tasks, name="task"), columns=list(self.methods))


def difference_facts(facts: ReportFacts) -> DifferenceFacts | None:
    """Against λ = 0, or λ = 1 if there is no λ = 0; None if neither was run, or nothing beside it."""
    reference = facts.method("lambda=0") or facts.method("lambda=1")
    if reference is None:
        return None
    found: list[tuple[MethodFacts, Difference]] = []
    for method in facts.methods:
        difference = facts.difference(method, reference) if method is not reference else None
        if difference is not None:
            found.append((method, difference))
    if not found:
        return None
    found.sort(key=lambda pair: pair[1].relative)
    by_task = 100 * (np.stack([difference.by_task for _, difference in found]) - 1)
    order = [column for column in np.argsort(by_task[0], kind="stable") if np.isfinite(by_task[0, column])]
    return DifferenceFacts(
        reference=label(reference.name),
        methods=tuple(label(method.name) for method, _ in found),
        mean=np.array([100 * difference.relative for _, difference in found]),
        low=np.array([100 * difference.interval[0] for _, difference in found]),
        high=np.array([100 * difference.interval[1] for _, difference in found]),
        by_seed=tuple(100 * difference.by_seed / difference.reference for _, difference in found),
        tasks=tuple(facts.tasks[column] for column in order),
        by_task=by_task[:, order],
    )


def differences(found: DifferenceFacts) -> go.Figure:
    """A line for each interval, a large mark for the mean, small ones for the seeds; best method on top."""
    figure = _figure(found)
    rows = list(range(len(found.methods)))
    for row, seeds in zip(rows, found.by_seed, strict=True):
        if len(seeds) > 1:
            figure.add_scatter(
                x=seeds,
                y=np.full(len(seeds), row),
                mode="markers",
                name="a seed",
                legendgroup="seed",
                showlegend=row == 0,
                marker={"symbol": "line-ns-open", "size": 12, "color": plots.PALETTE[1], "line": {"width": 1.5}},
                hovertemplate="a seed: %{x:+.2f} %<extra></extra>",
            )
    interval = np.isfinite(found.low).any()
    error = {"array": found.high - found.mean, "arrayminus": found.mean - found.low, "thickness": 2, "width": 6}
    figure.add_scatter(
        x=found.mean,
        y=rows,
        mode="markers",
        name="mean and 95 % interval" if interval else "the one seed",
        marker={"size": 10, "color": plots.PALETTE[0]},
        error_x=error | {"color": plots.PALETTE[0]} if interval else None,
        hovertext=[_hover(found, row) for row in rows],
        hoverinfo="text",
    )
    figure.update_yaxes(tickvals=rows, ticktext=[plots.as_label(name) for name in found.methods], showgrid=False)
    figure.update_yaxes(range=[len(rows) - 0.5, -0.5])
    figure.update_xaxes(title_text=f"RMSE against {found.reference}, %")
    return figure


def task_differences(found: DifferenceFacts) -> go.Figure:
    """A row for each task, a mark for each method; the legend turns methods off and on."""
    figure = _figure(found)
    rows = np.arange(len(found.tasks))
    for index, (name, values) in enumerate(zip(found.methods, found.by_task, strict=True)):
        figure.add_scatter(
            x=values,
            y=rows,
            mode="markers",
            name=plots.as_label(name),
            marker={
                "symbol": _SYMBOLS[(index + index // len(plots.PALETTE)) % len(_SYMBOLS)],
                "size": 9,
                "color": plots.PALETTE[index % len(plots.PALETTE)],
                "opacity": 0.85,
            },
            hovertext=[
                f"{plots.as_hover(task)}<br>{plots.as_hover(name)}: {value:+.2f} %"
                for task, value in zip(found.tasks, values, strict=True)
            ],
            hoverinfo="text",
        )
    figure.update_yaxes(tickvals=rows, ticktext=[plots.as_label(task) for task in found.tasks])
    figure.update_yaxes(range=[len(rows) - 0.5, -0.5])
    figure.update_xaxes(title_text=f"RMSE against {found.reference}, %")
    return figure


def _figure(found: DifferenceFacts) -> go.Figure:
    figure = go.Figure(layout={"template": plots.TEMPLATE})
    figure.add_vline(x=0, line={"color": "#808692", "width": 1})
    return figure


def _hover(found: DifferenceFacts, row: int) -> str:
    text = f"{plots.as_hover(found.methods[row])}: {found.mean[row]:+.2f} %"
    if np.isfinite(found.low[row]):
        text += f"<br>95 % interval {found.low[row]:+.2f} to {found.high[row]:+.2f} %"
    return text
