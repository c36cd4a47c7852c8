"""The trials of the searches: the landscape and its slices, or the score over a single λ."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from bilevel_hpo import plots
from bilevel_hpo.report._facts import ReportFacts
from bilevel_hpo.report._landscape import drawn_axes, learned_paths, levelled_trials, search_landscape
from bilevel_hpo.report._parts import PageFigure
from bilevel_hpo.report._words import capital, label

__all__ = ["over_one_lambda", "search_figures"]

_LEVELS = (
    " Each seed's own level (its mean over the grid) is taken out, so that colours of different splits can be compared:"
    " grid points are means over the seeds, those of other searches single trainings."
)


def search_figures(facts: ReportFacts) -> Iterator[PageFigure]:
    """Draws a 3-D landscape of three λ, slices of two to six, a line for one; nothing for more."""
    trials = facts.files.trials
    if trials is None or not np.isfinite(trials["selection"]).any():
        return
    axes = drawn_axes(facts)
    if len(axes) == 1:
        yield _one(facts, trials, axes[0])
        return
    found = search_landscape(facts)
    if found is None:
        return
    metric, P = facts.metric.name, len(found.params)
    best = []
    for kind, row in found.best.items():
        at = ", ".join(f"{name} {value:.2g}" for name, value in zip(found.params, found.points[row], strict=True))
        best.append(f"best of {kind}: {metric} {found.values[row]:{facts.digits}} at λ {at}")
    notes = (
        _left_over(facts) + (_LEVELS if found.counts.max() > 1 else "") + (_paths(facts) if found.trajectories else "")
    )
    symmetric = "symmetric " if _symmetric(facts) else ""
    if P <= 3:
        yield PageFigure(
            "landscape",
            "Where the search went, and where λ went by itself" if found.trajectories else "Where the search went",
            f"Each point is one choice of {P} {symmetric}λ; its colour is the {metric} on the selection data. "
            f"Stars: {'; '.join(best)}.{notes}",
            plots.landscape(found),
            found.to_frame(),
            560,
        )
    yield PageFigure(
        "slices",
        "Slices through the best point",
        f"Diagonal: {metric} on the selection data over one λ, the others at the best point. Below it: over two λ. "
        "Trials near the slice are coloured, the others grey; between them the values are interpolated, which the "
        f"dotted lines and contours show. Zooming one panel zooms its row and column.{'' if P <= 3 else notes}",
        plots.slices(found),
        plots.slice_facts(found).to_frame(),
        height=max(420, 190 * P),
        min_width=max(520, 170 * P),
    )


def _symmetric(facts: ReportFacts) -> bool:
    return bool((facts.files.results.get("search") or {}).get("symmetric"))


def _paths(facts: ReportFacts) -> str:
    words = " Lines lead from the start of each learned λ to its end (diamond), one line per seed."
    scale = f", {facts.lambda_note}" if facts.lambda_note else ""
    if not _symmetric(facts):
        return words + (f" λ is drawn{scale.replace(',', '', 1)}." if scale else "")
    return (
        f"{words} Learned λ is asymmetric while the search is symmetric: drawn is the mean of λ from A to B and λ from "
        f"B to A{scale}."
    )


def over_one_lambda(trials: pd.DataFrame, parameter: str) -> pd.DataFrame:
    """Returns a row per search and λ: kind, lambda, mean score, std (ddof = 1; NaN for one), trainings, seconds."""
    groups = levelled_trials(trials).groupby(["kind", parameter], sort=True)
    frame = groups.agg(mean=("level", "mean"), std=("level", "std"), n=("level", "size"), seconds=("wall_s", "mean"))
    return frame.reset_index().rename(columns={parameter: "lambda"})


def _one(facts: ReportFacts, trials: pd.DataFrame, parameter: str) -> PageFigure:
    metric = facts.metric
    table = over_one_lambda(trials, parameter)
    figure = go.Figure(layout={"template": plots.TEMPLATE})
    for index, (kind, rows) in enumerate(table.groupby("kind")):
        colour = plots.PALETTE[index % len(plots.PALETTE)]
        figure.add_scatter(
            x=rows["lambda"],
            y=rows["mean"],
            mode="markers",
            name=plots.as_label(kind),
            marker={"size": 9, "color": colour, "symbol": ("circle", "square", "diamond", "cross")[index % 4]},
            error_y={"array": rows["std"].fillna(0), "color": colour, "thickness": 1, "width": 3},
            hovertext=[
                f"{plots.as_text(kind)}: λ = {row['lambda']:.3g}<br>{plots.as_text(metric.name)} {row['mean']:.5g}"
                + (f" ± {row['std']:.2g} ({row['n']} seeds)" if row["n"] > 1 else "")
                + f"<br>{row['seconds']:.1f} s"
                for _, row in rows.iterrows()
            ],
            hoverinfo="text",
        )
        best = rows.iloc[int(rows["mean"].argmax() if metric.higher_is_better else rows["mean"].argmin())]
        figure.add_scatter(
            x=[best["lambda"]],
            y=[best["mean"]],
            mode="markers",
            name=f"best of {plots.as_label(kind)}",
            marker={"size": 17, "symbol": "star", "color": colour, "line": {"width": 1, "color": "white"}},
            hoverinfo="skip",
        )
    figure.update_xaxes(title_text=f"λ, {plots.as_label(parameter)}")
    figure.update_yaxes(title_text=plots.as_text(f"{metric.name}, selection"))
    several = int(trials["seed"].nunique())
    note = (facts.files.results.get("search") or {}).get("note", "")
    learned = _learned_ends(figure, facts, table, parameter)
    caption = (
        f"Each point is one choice of λ ({parameter}); {metric.name} on the selection data.{f' {note}' if note else ''}"
    )
    if several > 1 and (table["n"] > 1).any():
        caption += f"{_LEVELS} Bars: ± one standard deviation over {several} seeds."
    if learned:
        caption += " Upright lines: where each learned λ ended, one for each seed; their height says nothing."
    return PageFigure(
        "landscape", f"{capital(metric.name)} over λ", f"{caption}{_left_over(facts)}", figure, table, 400
    )


def _learned_ends(figure: go.Figure, facts: ReportFacts, table: pd.DataFrame, parameter: str) -> bool:
    """Draws the last λ of each learned method; returns whether there was one."""
    low, high = float(table["mean"].min()), float(table["mean"].max())
    learned = [(each, learned_paths(facts, each, [parameter])) for each in facts.methods if each.group == "learned"]
    learned = [(method, paths) for method, paths in learned if len(paths)]
    for index, (method, paths) in enumerate(learned):
        ends = [float(path[-1, 0]) for path in paths]
        figure.add_scatter(
            x=np.repeat(ends, 3),
            y=[low, high, None] * len(ends),
            mode="lines",
            name=plots.as_label(label(method.name)),
            line={"color": plots.PALETTE[3 - index % 2], "width": 1.5},
            hovertext=np.repeat([f"{plots.as_hover(label(method.name))}: λ = {end:.3g}" for end in ends], 3),
            hoverinfo="text",
        )
    return bool(learned)


def _left_over(facts: ReportFacts) -> str:
    """Returns the remark about a λ that is not drawn."""
    left = [axis for axis in facts.parameters if axis not in drawn_axes(facts)]
    return (
        f" λ {left[0]} is not drawn: it is what the others leave of their sum, which is the same in all."
        if left
        else ""
    )
