"""Where grid and TPE have looked: Figure 1 and its slices, or RMSE over the one λ that was searched."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from bilevel_hpo import plots
from gate_model.report._facts import ReportFacts
from gate_model.report._landscape import levelled_trials, search_landscape
from gate_model.report._page_figure import PageFigure

__all__ = ["over_one_lambda", "search_figures"]

_LEVELS = (
    " Each seed's own level (its mean over the grid) is taken out, so that colours of different splits can be compared:"
    " grid points are means over the seeds, TPE points single trainings."
)
_PATHS = (
    " Lines lead from the start of each learned λ to its end (diamond), one line per seed. Learned λ is asymmetric "
    "while the search is symmetric: drawn is the mean of λ from A to B and λ from B to A, in units of the direct path."
)


def search_figures(facts: ReportFacts) -> Iterator[PageFigure]:
    """3-D landscape of three λ, slices of two to six, a line for one; nothing for more."""
    trials = facts.files.trials
    if trials is None or not np.isfinite(trials["val_rmse"]).any():
        return
    if len(facts.parameters) == 1:
        yield _one(facts, trials)
        return
    found = search_landscape(facts)
    if found is None:
        return
    best = []
    for kind, row in found.best.items():
        at = ", ".join(f"{name} {value:.2f}" for name, value in zip(found.params, found.points[row], strict=True))
        best.append(f"best of {kind}: RMSE {found.values[row]:.4f} at λ {at}")
    notes = (_LEVELS if found.counts.max() > 1 else "") + (_PATHS if found.trajectories else "")
    P = len(found.params)
    if P <= 3:
        yield PageFigure(
            "landscape",
            "Where the search went, and where λ went by itself",
            f"Each point is one choice of {P} symmetric λ; its colour is the RMSE on the selection molecules. "
            f"Stars: {'; '.join(best)}.{notes}",
            plots.landscape(found),
            found.to_frame(),
            560,
        )
    yield PageFigure(
        "slices",
        "Slices through the best point",
        "Diagonal: RMSE on the selection molecules over one λ, the others at the best point. Below it: over two λ. "
        "Trials near the slice are coloured, the others grey; between them the values are interpolated, which the "
        f"dotted lines and contours show. Zooming one panel zooms its row and column.{'' if P <= 3 else notes}",
        plots.slices(found),
        plots.slice_facts(found).to_frame(),
        height=max(420, 190 * P),
        min_width=max(520, 170 * P),
    )


def over_one_lambda(trials: pd.DataFrame, parameter: str) -> pd.DataFrame:
    """One row per search and λ : kind, lambda, mean RMSE, std (ddof = 1, NaN for one training), trainings, seconds."""
    groups = levelled_trials(trials).groupby(["kind", parameter], sort=True)
    frame = groups.agg(mean=("level", "mean"), std=("level", "std"), n=("level", "size"), seconds=("wall_s", "mean"))
    return frame.reset_index().rename(columns={parameter: "lambda"})


def _one(facts: ReportFacts, trials: pd.DataFrame) -> PageFigure:
    parameter = facts.parameters[0]
    table = over_one_lambda(trials, parameter)
    figure = go.Figure(layout={"template": plots.TEMPLATE})
    for index, (kind, rows) in enumerate(table.groupby("kind")):
        colour = plots.PALETTE[index]
        figure.add_scatter(
            x=rows["lambda"],
            y=rows["mean"],
            mode="markers",
            name=str(kind),
            marker={"size": 9, "color": colour, "symbol": ("circle", "square")[index % 2]},
            error_y={"array": rows["std"].fillna(0), "color": colour, "thickness": 1, "width": 3},
            hovertext=[
                f"{plots.as_text(kind)}: λ = {row['lambda']:.3g}<br>RMSE {row['mean']:.5g}"
                + (f" ± {row['std']:.2g} ({row['n']} seeds)" if row["n"] > 1 else "")
                + f"<br>{row['seconds']:.1f} s"
                for _, row in rows.iterrows()
            ],
            hoverinfo="text",
        )
        best = rows.iloc[int(rows["mean"].argmin())]
        figure.add_scatter(
            x=[best["lambda"]],
            y=[best["mean"]],
            mode="markers",
            name=f"best of {kind}",
            marker={"size": 17, "symbol": "star", "color": colour, "line": {"width": 1, "color": "white"}},
            hoverinfo="skip",
        )
    what = "λ of all pairs" if facts.shared else f"λ {plots.as_text(parameter)}"
    figure.update_xaxes(title_text=what)
    figure.update_yaxes(title_text="RMSE, selection")
    several = int(trials["seed"].nunique())
    caption = (
        "Each point is one choice of " + ("the λ that all pairs share" if facts.shared else "the symmetric λ") + "; "
        "RMSE on the selection molecules."
    )
    if facts.shared:
        caption += " A λ for each pair would have been too many for a search."
    if several > 1:
        caption += f"{_LEVELS} Bars: ± one standard deviation over {several} seeds."
    return PageFigure("landscape", "RMSE over λ", caption, figure, table, 400)
