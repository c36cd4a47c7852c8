"""Figures of a quantity over pairs of tasks with its spread over seeds, of shares of variance, and of gain over λ."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from bilevel_hpo.plots import (
    DIVERGING,
    PALETTE,
    SEQUENTIAL,
    TEMPLATE,
    as_label,
    as_text,
    cluster_order,
    gain,
)
from paper_studies.meaning.pair_ranks import off_diagonal
from paper_studies.meaning.variance import PARTS, Variance

__all__ = ["gain_scatter", "mean_and_spread", "variance_bars"]

Array = NDArray[np.float64]


def mean_and_spread(values: Array, tasks: Sequence[str], what: str, *, signed: bool = False) -> go.Figure:
    """Draw the mean over seeds and the standard deviation as two heat maps; rows are targets, columns are sources.

    The tasks are ordered so that those with high values between them are neighbours. The colour scale ends at the 99th
    percentile, so that a single large value does not hide the differences between the others.

    Args:
        values: values `[S, T, T]`, finite off the diagonal.
        tasks: names of rows and columns.
        what: name of the quantity, above the left map.
        signed: use a colour scale with two sides of 0.
    """
    off = off_diagonal(len(tasks))
    mean, std = values.mean(0), values.std(0, ddof=1)
    order = [
        list(tasks).index(name) for name in cluster_order(pd.DataFrame(mean, index=list(tasks), columns=list(tasks)))
    ]
    names = [as_label(tasks[place]) for place in order]
    titles = (f"{as_text(what)}, mean over seeds", "standard deviation over seeds")
    figure = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.16)
    for column, (matrix, both_sides) in enumerate(((mean, signed), (std, False)), 1):
        top = float(np.quantile(np.abs(matrix[off]), 0.99))
        figure.add_heatmap(
            x=names,
            y=names,
            z=np.where(off, matrix, np.nan)[np.ix_(order, order)],
            zmin=-top if both_sides else 0.0,
            zmax=top,
            colorscale=DIVERGING if both_sides else SEQUENTIAL,
            colorbar={"x": 0.43 if column == 1 else 1.01, "thickness": 12, "outlinewidth": 0},
            hovertemplate="target %{y}<br>source %{x}<br>%{z:.3g}<extra></extra>",
            hoverongaps=False,
            row=1,
            col=column,
        )
    figure.update_layout(template=TEMPLATE, width=1300, height=620, margin={"t": 48})
    size = 13 if len(tasks) <= 20 else 9
    figure.update_xaxes(type="category", title_text="source", showgrid=False, tickfont={"size": size}, dtick=1)
    figure.update_yaxes(
        type="category", title_text="target", showgrid=False, tickfont={"size": size}, dtick=1, autorange="reversed"
    )
    return figure


def variance_bars(variances: Mapping[str, Variance]) -> go.Figure:
    """Draw one bar for each name, divided into the shares of `PARTS`; parts that differ between seeds are hatched."""
    figure = go.Figure(layout={"template": TEMPLATE, "barmode": "stack", "width": 1000})
    names = list(variances)
    for place, part in enumerate(PARTS):
        figure.add_bar(
            y=[as_label(name) for name in names],
            x=[variances[name].shares[part] for name in names],
            name=part,
            orientation="h",
            marker={
                "color": PALETTE[place % 3],
                "pattern": {"shape": "" if place < 3 else "/", "fillmode": "overlay", "fgcolor": "white", "size": 6},
            },
            hovertemplate="%{y}<br>" + part + " %{x:.1%}<extra></extra>",
        )
    figure.update_layout(height=140 + 50 * len(names), margin={"t": 64, "r": 32}, legend={"traceorder": "normal"})
    figure.update_xaxes(title_text="share of the variance within a seed", tickformat=".0%", range=[0, 1])
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure


def gain_scatter(table: pd.DataFrame, method: str, text: str) -> go.Figure:
    """Draw the measured gain of each source for each target over its λ.

    Args:
        table: columns target, source, lambda and gain (means over seeds).
        method: the method that learned λ.
        text: the title.
    """
    figure = gain(table)
    figure.update_layout(title_text=as_text(text))
    figure.update_xaxes(title_text=f"λ of {as_text(method)}, source → target, mean over seeds")
    figure.update_yaxes(title_text="gain: log RMSE without − with the source", tickformat=".3f")
    return figure
