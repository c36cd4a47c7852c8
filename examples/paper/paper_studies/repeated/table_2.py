"""Table 2: how many tasks a learned λ improves, and by how much, against constant λ; beside the paper's claim."""

from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from scipy import stats

from bilevel_hpo.plots import TEMPLATE, as_label
from bilevel_hpo.statistics import paired
from paper_studies.analysis import Analysis
from paper_studies.repeated.compared import COLOURS, NAMES, PAPER_COLOUR, Compared, compared
from paper_studies.repeated.published import AVERAGE, CORRELATED, IMPROVED, published

__all__ = ["table_2"]

Array = NDArray[np.float64]

_REFERENCES = ("lambda=1-sum", "lambda=1-plain", "lambda=0-plain", "lambda=0")
_LEARNED = ("direct-sum", "direct", "budget")
_ALIKE = (
    ("direct-sum", "lambda=1-sum"),
    ("direct", "lambda=1-plain"),
    ("lambda=0-plain", "lambda=1-plain"),
    ("budget", "lambda=1-plain"),
)
"""Comparisons whose gain for each task is shown beside the paper's."""
_PAPER, _PAPER_SHARED, _OURS, _OURS_SHARED = (
    "paper, its 40 tasks",
    "paper, tasks of both",
    "this run",
    "this run, tasks of both",
)


def table_2(folder: Path) -> Analysis:
    """Return Table 2 for the benchmark in `folder`.

    Raises:
        RunError: the folder is no benchmark, or lacks a method.
    """
    run = compared(folder)
    frame, by_task = comparisons(run), improvements(run)
    findings = f"{run.about}\n\n{_words(run, frame, by_task)}\n\n{_markdown(frame)}"
    tables = {"table_2": frame, "improvements": by_task}
    return Analysis(tables, {"table_2": _figure(run, by_task)}, findings)


def comparisons(run: Compared) -> pd.DataFrame:
    """Return one row for each data set, method and reference.

    Columns: data, method, against, tasks; improved (number of tasks whose RMSE, mean over seeds, is lower);
    ratio_of_means (ratio of the RMSE's means over tasks and seeds); median_ratio (median over tasks of the ratio of
    the RMSE's means over seeds); mean_ratio (mean ratio over tasks and seeds); std (over seeds, of the mean ratio over
    tasks); p (Wilcoxon's signed-rank test on one log ratio for each task).
    """
    paper = published()
    shared = [column for column, task in enumerate(run.tasks) if task in paper.index]
    rows = [_row(_PAPER, "GATE*", "GATE", *_columns(paper))]
    if shared:
        rows.append(_row(_PAPER_SHARED, "GATE*", "GATE", *_columns(paper.loc[[run.tasks[c] for c in shared]])))
    for data, columns in ((_OURS, list(range(len(run.tasks)))), (_OURS_SHARED, shared)):
        if columns and (data == _OURS or len(shared) < len(run.tasks)):
            rows += [
                _row(data, method, against, run.test(method)[:, columns], run.test(against)[:, columns])
                for method, against in _pairs(run)
            ]
    return pd.DataFrame(rows)


def improvements(run: Compared) -> pd.DataFrame:
    """Return one row for each task and comparison.

    Columns: task, method, against; improvement (1 − the ratio of the RMSE to that of the reference, each a mean over
    seeds); paper (improvement of GATE* on GATE in the paper, NaN for a task that it does not have).
    """
    paper = 1 - published()["gate_star"] / published()["gate"]
    frames = [
        pd.DataFrame(
            {
                "task": run.tasks,
                "method": method,
                "against": against,
                "improvement": 1 - run.test(method).mean(0) / run.test(against).mean(0),
                "paper": paper.reindex(run.tasks).to_numpy(),
            }
        )
        for method, against in _pairs(run)
    ]
    return pd.concat(frames, ignore_index=True)


def _pairs(run: Compared) -> list[tuple[str, str]]:
    """Return the pairs (method, reference) to compare.

    Each constant λ is also compared with those before it. This shows the effect of the normalised sum, of no mapping
    losses and of logarithms without learning.
    """
    learned = [name for name in _LEARNED if name in run.results]
    constant = [name for name in _REFERENCES if name in run.results]
    return [
        (method, reference)
        for place, reference in enumerate(constant, start=1)
        for method in (*learned, *constant[place:])
    ]


def _columns(paper: pd.DataFrame) -> tuple[Array, Array]:
    """Return the RMSE of GATE* and of GATE, each `[1, tasks]`."""
    star, gate = (paper[name].to_numpy(dtype=np.float64)[None] for name in ("gate_star", "gate"))
    return star, gate


def _row(data: str, method: str, against: str, rmse: Array, reference: Array) -> dict[str, object]:
    found = paired(rmse, reference)
    return {
        "data": data,
        "method": method,
        "against": against,
        "tasks": found.tasks,
        "improved": found.wins,
        "ratio_of_means": float(rmse.mean() / reference.mean()),
        "median_ratio": float(np.median(rmse.mean(0) / reference.mean(0))),
        "mean_ratio": found.ratio,
        "std": found.ratio_std,
        "p": found.p_tasks,
    }


def _words(run: Compared, frame: pd.DataFrame, by_task: pd.DataFrame) -> str:
    rows = {(row["data"], row["method"], row["against"]): row for row in frame.to_dict("records")}
    paper = rows[_PAPER, "GATE*", "GATE"]
    lines = [
        f"- The paper prints {IMPROVED} of 40 improved tasks and an average RMSE of {100 * AVERAGE:.1f} %. Its Table 1 "
        f"gives {paper['improved']}, a ratio of the mean RMSE of {100 * paper['ratio_of_means']:.1f} %, a median ratio "
        f"of {100 * paper['median_ratio']:.1f} %, a mean ratio of {100 * paper['mean_ratio']:.1f} %, and p "
        f"{paper['p']:.1g} over the tasks. It does not say from how many trainings."
    ]
    for reference in (name for name in _REFERENCES if name in run.results):
        told = [
            f"`{method}` improves {row['improved']} of {row['tasks']} tasks, ratio of the means "
            f"{100 * row['ratio_of_means']:.1f} %, mean ratio {100 * row['mean_ratio']:.1f} %, p {row['p']:.1g}"
            for (data, method, against), row in rows.items()
            if (data, against) == (_OURS, reference)
        ]
        lines.append(f"- Against `{reference}`: {'; '.join(told)}.")
    both = by_task[by_task["paper"].notna()]
    n_both = both["task"].nunique()
    if n_both >= CORRELATED:
        told = [
            f"`{method}` on `{against}` {stats.spearmanr(own['improvement'], own['paper']).statistic:+.2f}"
            for (method, against), own in both.groupby(["method", "against"], sort=False)
            if (method, against) in _ALIKE
        ]
        lines.append(
            f"- Do the same tasks gain? Rank correlation of the improvement with the paper's, over {n_both} tasks: "
            f"{', '.join(told)}."
        )
    return "\n".join(lines)


def _markdown(frame: pd.DataFrame) -> str:
    lines = [
        "| data | method | against | tasks improved | ratio of means | median ratio | mean ratio ± std over seeds "
        "| p over tasks |",
        "|---" * 8 + "|",
    ]
    for row in frame.to_dict("records"):
        spread = "" if np.isnan(row["std"]) else f" ± {100 * row['std']:.1f}"
        lines.append(
            f"| {row['data']} | `{row['method']}` | `{row['against']}` | {row['improved']} of {row['tasks']} "
            f"| {100 * row['ratio_of_means']:.1f} % | {100 * row['median_ratio']:.1f} % "
            f"| {100 * row['mean_ratio']:.1f}{spread} % | {row['p']:.1g} |"
        )
    return "\n".join(lines)


def _figure(run: Compared, by_task: pd.DataFrame) -> go.Figure:
    """Draw the improvement of each task, in one panel for each reference; those with the largest gain come first."""
    panels = [name for name in _REFERENCES if name in run.results]
    first = by_task[(by_task["method"] == "direct") & (by_task["against"] == "lambda=1-plain")]
    order = first.sort_values("improvement", ascending=False)["task"].tolist()
    figure = make_subplots(
        rows=len(panels),
        shared_xaxes=True,
        vertical_spacing=0.06,
        subplot_titles=[f"against {NAMES[p]}" for p in panels],
    )
    for place, against in enumerate(panels, start=1):
        for method in (name for name in _LEARNED if name in run.results):
            own = by_task[(by_task["method"] == method) & (by_task["against"] == against)].set_index("task").loc[order]
            figure.add_bar(
                x=[as_label(task, 12) for task in order],
                y=100 * own["improvement"],
                name=NAMES[method],
                marker_color=COLOURS[method],
                legendgroup=method,
                showlegend=place == 1,
                row=place,
                col=1,
            )
        if against.startswith("lambda=1") and first["paper"].notna().any():
            figure.add_scatter(
                x=[as_label(task, 12) for task in order],
                y=100 * first.set_index("task").loc[order, "paper"],
                mode="markers",
                marker={"color": PAPER_COLOUR, "symbol": "star-open", "size": 9, "line_width": 1.5},
                name="paper: GATE* on GATE",
                legendgroup="paper",
                showlegend=place == 1,
                row=place,
                col=1,
            )
    figure.update_layout(template=TEMPLATE, barmode="group", height=140 + 280 * len(panels), margin_t=90)
    figure.update_layout(legend_y=1 + 50 / (140 + 280 * len(panels)))
    figure.update_xaxes(type="category", tickangle=-90)
    figure.update_yaxes(title_text="improvement, %", zeroline=True, zerolinecolor=PAPER_COLOUR)
    return figure
