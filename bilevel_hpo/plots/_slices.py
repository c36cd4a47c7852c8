"""The landscape cut through its optimum: every λ alone on the diagonal, every pair of λ below it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from bilevel_hpo.plots._landscape import BEST, colorbar, learned_colour, measured
from bilevel_hpo.plots._landscape_facts import LandscapeFacts, Learned
from bilevel_hpo.plots._names import as_hover, as_label
from bilevel_hpo.plots._paths import thinned
from bilevel_hpo.plots._slice_facts import SliceFacts, slice_facts
from bilevel_hpo.plots._template import GREY, SEQUENTIAL, TEMPLATE

__all__ = ["slices"]

_CLEAR = 40
"""Pixels between the figure and its scale: the ticks of the last diagonal panel are there."""


def slices(
    study: "optuna.Study | LandscapeFacts",
    learned: "Learned" = None,
    *,
    params: Sequence[str] | None = None,
    width: float = 0.05,
) -> go.Figure:
    """Draws a matrix of cuts through the best point, with one axis per λ: zooming one panel zooms its row and column.

    The diagonal shows the objective over one λ, the panels below over two. Trials of the cut, whose other λ are near
    those of the best point, are large and coloured; the other trials are grey. Between the trials of a cut the
    objective is interpolated linearly, dotted on the diagonal and contours below it; there is no colour without a
    trial nearby.

    Args:
        study: an Optuna study with one objective, or facts from `LandscapeFacts.from_frame`.
        learned: as in `landscape`; drawn as a diamond at its end and a line along its path.
        params: the 2 to 6 names to draw; by default all numeric parameters.
        width: the largest distance of the other λ of a trial from the best point, as a share of the range of each λ.

    Raises:
        ValueError: as for `landscape`; there are fewer than two or more than six λ; width lies outside [0, 1].
    """
    facts = slice_facts(study, learned, params=params, width=width)
    P = len(facts.landscape.params)
    figure = make_subplots(P, P, shared_xaxes="columns", horizontal_spacing=0.09 / P, vertical_spacing=0.09 / P)
    figure.update_layout(template=TEMPLATE, showlegend=True)
    for i in range(P):
        for trace in _line(facts, i):
            figure.add_trace(trace, row=i + 1, col=i + 1)
    for pair in facts.planes:
        for trace in _plane(facts, pair):
            figure.add_trace(trace, row=pair[1] + 1, col=pair[0] + 1)
    _link(figure, facts.landscape)
    _say(figure, facts)
    return figure


def _line(facts: SliceFacts, i: int) -> list[Any]:
    land, rows = facts.landscape, facts.lines[i]
    places, back = np.unique(land.points[rows, i], return_inverse=True)
    means = np.bincount(back, land.values[rows]) / np.bincount(back)
    between = {"line": {"color": GREY, "width": 1.5, "dash": "dot"}, "hoverinfo": "skip"}
    return [
        _elsewhere(land.points[:, i], land.values, rows, first=i == 0),
        go.Scatter(x=places, y=means, mode="lines", showlegend=False, **between),
        _trials(land, rows, land.points[rows, i], land.values[rows], first=i == 0),
        *_ends(land, i),
        _star(land, land.points[land.optimum, i], land.values[land.optimum], first=i == 0),
    ]


def _plane(facts: SliceFacts, pair: tuple[int, int]) -> list[Any]:
    land, plane, (i, j) = facts.landscape, facts.planes[pair], pair
    x, y = land.points[:, i], land.points[:, j]
    traces = [_elsewhere(x, y, plane.rows, first=False)]
    if np.isfinite(plane.z).any():
        low, high = _ends_of_scale(land)
        levels = {"start": low, "end": high, "size": (high - low) / 12, "coloring": "heatmap"}
        # Its own scale with the ends of the shared one: contours on a shared colour axis hang plotly.js 4.1.
        scale = {"colorscale": SEQUENTIAL, "zmin": low, "zmax": high, "autocontour": False, "contours": levels}
        style = {"opacity": 0.85, "connectgaps": False, "showscale": False, "line": {"width": 0.7, "color": GREY}}
        said = f"interpolated: {as_hover(land.objective)} %{{z:.4g}}<extra></extra>"
        traces.append(go.Contour(x=plane.x, y=plane.y, z=plane.z, hovertemplate=said, **scale, **style))
    traces.append(_trials(land, plane.rows, x[plane.rows], y[plane.rows], first=False))
    traces += _ways(land, i, j)
    traces.append(_star(land, x[land.optimum], y[land.optimum], first=False))
    return traces


def _ends_of_scale(land: LandscapeFacts) -> tuple[float, float]:
    low, high = float(land.values.min()), float(land.values.max())
    return low, high if high > low else low + 1


def _elsewhere(x: NDArray[np.float64], y: NDArray[np.float64], cut: NDArray[np.int64], *, first: bool) -> go.Scatter:
    """Draws the trials outside the cut, to show that the cut is only a part of all trials."""
    out = np.setdiff1d(np.arange(len(x)), cut)
    marker = {"color": GREY, "size": 3, "opacity": 0.45}
    legend = {"name": "trials elsewhere", "legendgroup": "elsewhere", "showlegend": first and bool(len(out))}
    shown = {"x": x[out].astype(np.float32), "y": y[out].astype(np.float32)}
    return go.Scatter(**shown, mode="markers", marker=marker, hoverinfo="skip", **legend)


def _trials(
    land: LandscapeFacts, rows: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.float64], *, first: bool
) -> go.Scatter:
    line = {"width": 1, "color": GREY}
    marker = {"color": land.values[rows].astype(np.float32), "coloraxis": "coloraxis", "size": 8, "line": line}
    hover = [
        ", ".join(f"{value:.3g}" for value in land.points[row]) + text
        for row, text in zip(rows, measured(land, rows), strict=True)
    ]
    said = f"{as_hover(land.objective)} %{{marker.color:.5g}}<br>λ %{{customdata}}<extra></extra>"
    legend = {"name": "trials in the cut", "legendgroup": "cut", "showlegend": first}
    at = {"x": x.astype(np.float32), "y": y.astype(np.float32)}
    return go.Scatter(**at, mode="markers", marker=marker, customdata=hover, hovertemplate=said, **legend)


def _star(land: LandscapeFacts, x: float, y: float, *, first: bool) -> go.Scatter:
    marker = {"symbol": "star", "size": 15, "color": BEST, "line": {"color": "white", "width": 1}}
    legend = {"name": "best", "legendgroup": "best", "showlegend": first, "hoverinfo": "skip"}
    return go.Scatter(x=[x], y=[y], mode="markers", marker=marker, **legend)


def _ends(land: LandscapeFacts, i: int) -> list[Any]:
    """Draws the learned λ on the diagonal as a vertical line, since its objective may differ from the trials'."""
    low, high = float(land.values.min()), float(land.values.max())
    traces = []
    for index, (name, path) in enumerate(zip(land.names, land.trajectories, strict=True)):
        end, legend = float(path[-1, i]), as_label(name)
        line = {"color": learned_colour(land, name), "width": 1.5}
        style = {"hovertext": f"{as_hover(name)}, end<br>λ {as_hover(land.params[i])} = {end:.3g}", "hoverinfo": "text"}
        first = i == 0 and land.names.index(name) == index
        group = {"name": legend, "legendgroup": f"way {legend}", "showlegend": first}
        traces.append(go.Scatter(x=[end, end], y=[low, high], mode="lines", line=line, **style, **group))
    return traces


def _ways(land: LandscapeFacts, i: int, j: int) -> list[Any]:
    traces = []
    for name, path in zip(land.names, land.trajectories, strict=True):
        steps = thinned(path, 60)
        drawn, sizes = path[steps][:, [i, j]].astype(np.float32), np.zeros(len(steps), dtype=np.uint8)
        sizes[-1] = 11
        marker = {"symbol": "diamond", "size": sizes, "opacity": 1, "color": learned_colour(land, name)}
        marker["line"] = {"color": "white", "width": (sizes > 0).astype(np.uint8)}
        style = {"line": {"color": learned_colour(land, name), "width": 1.5}, "marker": marker, "showlegend": False}
        said = f"{as_hover(name)}, step %{{customdata}}<br>%{{x:.3g}}, %{{y:.3g}}<extra></extra>"
        group = {"legendgroup": f"way {as_label(name)}", "customdata": steps, "hovertemplate": said}
        traces.append(go.Scatter(x=drawn[:, 0], y=drawn[:, 1], mode="lines+markers", **style, **group))
    return traces


def _link(figure: go.Figure, land: LandscapeFacts) -> None:
    """Links the axes: one range per λ in its column and its row, one range of the objective along the diagonal."""
    P = len(land.params)
    length = max(8, 60 // P)
    figure.update_xaxes(nticks=5)
    figure.update_yaxes(nticks=5)
    for row in range(P):
        for column in range(P):
            at = {"row": row + 1, "col": column + 1}
            if column > row:
                figure.update_xaxes(visible=False, **at)
                figure.update_yaxes(visible=False, **at)
            elif column == row:
                figure.update_yaxes(matches="y" if row else None, side="right" if row else "left", **at)
            else:
                leader = f"y{row * P + 1}" if column else None  # an axis that matches itself hangs the browser
                figure.update_yaxes(matches=leader, showticklabels=column == 0, **at)
    for index, name in enumerate(land.params):
        title = f"λ {as_label(name, length)}"
        figure.update_xaxes(title_text=title, row=P, col=index + 1)
        figure.update_yaxes(title_text=title if index else as_label(land.objective, length), row=index + 1, col=1)


def _say(figure: go.Figure, facts: SliceFacts) -> None:
    """Explains in the empty half of the matrix what is measured and what is not."""
    reaches = [plane.reach for plane in facts.planes.values() if plane.reach]
    lines = [
        "large dots: trials within",
        f"±{100 * facts.width:g} % of the best point",
        "in the λ that is not shown",
        "contours, dotted lines:",
        "<b>linear interpolation</b>",
    ]
    if len(facts.landscape.params) == 2:
        lines[:3] = ["dots: trials"]
    if reaches:
        lines += ["no colour: no trial within", f"{100 * max(reaches):.0f} % of the range"]
    where = {"x": 1, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "right", "yanchor": "top", "align": "right"}
    figure.add_annotation(text="<br>".join(lines), showarrow=False, font={"size": 12}, **where)
    low, high = _ends_of_scale(facts.landscape)
    bar = colorbar(facts.landscape) | {"xpad": _CLEAR}
    figure.update_layout(coloraxis={"colorscale": SEQUENTIAL, "cmin": low, "cmax": high, "colorbar": bar})
