"""Figure 1 of the paper: the objective over two or three λ, the best point, and the path of the learned λ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo.plots._landscape_facts import LandscapeFacts, Learned, drawn_facts
from bilevel_hpo.plots._names import as_hover, as_label, as_scene_text
from bilevel_hpo.plots._paths import arrow_steps, thinned
from bilevel_hpo.plots._template import PALETTE, SEQUENTIAL, TEMPLATE

__all__ = ["BEST", "colorbar", "landscape", "learned_colour", "measured"]

_SYMBOLS = ("circle", "square", "cross", "x")
BEST = PALETTE[1]
"""Colour of the best point."""
_LEARNED = (PALETTE[3], PALETTE[2], PALETTE[5], PALETTE[4])
_EDGE = "rgba(128, 134, 146, 0.9)"


def landscape(
    study: "optuna.Study | LandscapeFacts",
    learned: "Learned" = None,
    *,
    params: Sequence[str] | None = None,
) -> go.Figure:
    """Draws the complete trials over two or three λ: colour = objective, star = best, diamond = learned λ.

    Args:
        study: an Optuna study with one objective, or facts from `LandscapeFacts.from_frame`. Only complete trials
            count; trials stored by `search.record` are learned λ and drawn as diamonds.
        learned: a learner, or its `trajectory` or `history`: the path of its λ, drawn as a line with its start and
            arrows. Or λ by name, a point; or a DataFrame, array `[steps, P]` or list of such points in the order of
            training, also a path. Or a list of such paths, one per seed. The names are those of the parameters.
        params: the names to draw; optional if the study has two or three numeric parameters.

    Raises:
        TypeError: `study` is not a study.
        ValueError: there is no complete trial; there are not two or three parameters and no `params`; learned λ lacks a
            name or has another shape.
    """
    facts = drawn_facts(study, learned, params)
    if len(facts.params) > 3:
        raise ValueError(
            f"there are {len(facts.params)} numeric parameters {list(facts.params)}; two or three can be drawn: "
            "choose them with params=[...], or draw `slices`"
        )
    flat = len(facts.params) == 2
    figure = go.Figure(layout={"template": TEMPLATE})
    for index, kind in enumerate(facts.best):
        for trace in _points(facts, kind, _SYMBOLS[index % len(_SYMBOLS)], flat=flat):
            figure.add_trace(trace)
    for index, (name, path) in enumerate(zip(facts.names, facts.trajectories, strict=True)):
        colour = learned_colour(facts, name)
        for trace in _trajectory(facts, name, path, colour, first=facts.names.index(name) == index, flat=flat):
            figure.add_trace(trace)
    for index, kind in enumerate(facts.best):
        for trace in _star(facts, kind, first=index == 0, flat=flat):
            figure.add_trace(trace)
    write = as_label if flat else as_scene_text
    titles = [f"λ {write(name)}" for name in facts.params]
    scale = {"colorscale": SEQUENTIAL, "colorbar": colorbar(facts)}
    if flat:
        figure.update_layout(xaxis_title_text=titles[0], yaxis_title_text=titles[1], coloraxis=scale)
    else:
        axes: dict[str, Any] = {
            f"{axis}axis": {"title": {"text": title}} for axis, title in zip("xyz", titles, strict=True)
        }
        hidden = {"visible": False, "fixedrange": True}
        # Looking a little below the middle leaves room for the ticks of the nearest corner.
        camera = {"eye": {"x": 1.55, "y": -1.55, "z": 0.75}, "center": {"x": 0, "y": 0, "z": -0.12}}
        scene = axes | {"camera": camera, "aspectmode": "cube"}
        figure.update_layout(scene=scene, coloraxis=scale, xaxis=hidden, yaxis=hidden)
        figure.update_layout(margin={"l": 0, "r": 0, "t": 40, "b": 0})
    return figure


def learned_colour(facts: LandscapeFacts, name: str) -> str:
    """Returns the colour of the trajectories called `name`."""
    return _LEARNED[list(dict.fromkeys(facts.names)).index(name) % len(_LEARNED)]


def _points(facts: LandscapeFacts, kind: str, symbol: str, *, flat: bool) -> list[Any]:
    rows = np.array([group == kind for group in facts.groups])
    hover = _hover(facts.params, as_hover(kind), flat=flat)
    hover += f"<br>{as_hover(facts.objective)} %{{marker.color:.5g}}%{{customdata}}<extra></extra>"
    marker = {
        "color": facts.values[rows],
        "coloraxis": "coloraxis",
        "symbol": symbol,
        "size": 9 if flat else 4.5,
        "line": {"width": 1, "color": _EDGE},
    }
    style = _group(kind) | {"hovertemplate": hover, "customdata": measured(facts, rows), "hoverinfo": None}
    points = _scatter(facts.points[rows], flat=flat, mode="markers", marker=marker, **style)
    return [points, _key(kind, {"symbol": symbol, "size": 9, "color": _EDGE})]


def _trajectory(
    facts: LandscapeFacts, name: str, path: NDArray[np.float64], colour: str, *, first: bool, flat: bool
) -> list[Any]:
    """Draws a path as a line with arrows, an open circle at its start and a diamond at its end (in the legend)."""
    legend, full = as_label(name), as_hover(name)
    shared: dict[str, Any] = {"flat": flat, "hoverinfo": "text", "name": legend, "legendgroup": legend}
    traces = []
    if len(path) > 1:
        steps = thinned(path)
        drawn = path[steps]
        line = {"color": colour, "width": 2 if flat else 5}
        hover = f"{_hover(facts.params, f'{full}, step %{{customdata}}', flat=flat)}<extra></extra>"
        way: dict[str, Any] = {"line": line, "showlegend": False, "customdata": steps, "hovertemplate": hover}
        heads = arrow_steps(drawn)
        if flat:
            sizes = np.zeros(len(drawn))
            sizes[heads] = 13
            marker = {"symbol": "arrow", "angleref": "previous", "size": sizes, "color": colour, "opacity": 1}
            marker["line"] = {"width": 0}
            line["backoff"] = 0  # the line goes on under the arrow heads
            traces.append(_scatter(drawn, mode="lines+markers", marker=marker, **way, **shared))
        else:
            traces.append(_scatter(drawn, mode="lines", **way, **shared))
            if len(heads):
                traces.append(_cones(facts, drawn, heads, colour, legend))
        start = {"symbol": "circle-open", "size": 10 if flat else 7, "color": colour, "line": {"width": 2}}
        at = [f"{full}, start<br>{_named(facts.params, path[0])}"]
        traces.append(_scatter(path[:1], mode="markers", marker=start, showlegend=False, hovertext=at, **shared))
    end = {"symbol": "diamond", "size": 13 if flat else 7, "color": colour, "line": {"color": "white", "width": 1}}
    at = [f"{full}, end<br>{_named(facts.params, path[-1])}"]
    traces.append(_scatter(path[-1:], mode="markers", marker=end, showlegend=first, hovertext=at, **shared))
    return traces


def _cones(
    facts: LandscapeFacts, path: NDArray[np.float64], heads: NDArray[np.int64], colour: str, group: str
) -> go.Cone:
    """Draws arrow heads of one length, 0.06 of the cube's edge; plotly stretches them with the axes."""
    shown = np.concatenate([facts.points, *facts.trajectories])
    extent = np.ptp(shown, axis=0)
    extent[extent == 0] = 1
    way = (path[heads] - path[heads - 1]) / extent
    vectors = way / np.linalg.norm(way, axis=1, keepdims=True) * extent
    at = dict(zip(("x", "y", "z", "u", "v", "w"), (*path[heads].T, *vectors.T), strict=True))
    scale = {"colorscale": [[0, colour], [1, colour]], "showscale": False, "sizemode": "raw", "sizeref": 0.06}
    return go.Cone(**at, **scale, anchor="center", hoverinfo="skip", legendgroup=group, showlegend=False)


def _star(facts: LandscapeFacts, kind: str, *, first: bool, flat: bool) -> list[Any]:
    row = facts.best[kind]
    point = facts.points[row : row + 1]
    found = f"{as_hover(facts.objective)} {facts.values[row]:.5g}{measured(facts, np.array([row]))[0]}"
    hover = [f"best of {as_hover(kind)}<br>{_named(facts.params, point[0])}<br>{found}"]
    marker = {"symbol": "star", "size": 17, "color": BEST, "line": {"color": "white", "width": 1}}
    if flat:
        star = _scatter(point, flat=True, mode="markers", marker=marker, hovertext=hover, **_group("best"))
    else:  # scatter3d has no star symbol, so it is a letter
        style = {"text": ["★"], "textfont": {"color": BEST, "size": 34}, "textposition": "middle center"}
        star = _scatter(point, flat=False, mode="text", hovertext=hover, **style, **_group("best"))
    return [star, _key("best", marker)] if first else [star]


def _group(name: str) -> dict[str, Any]:
    return {"name": as_label(name), "legendgroup": as_label(name), "showlegend": False, "hoverinfo": "text"}


def _key(name: str, marker: Mapping[str, Any]) -> go.Scatter:
    """Adds the legend entry of a group, since WebGL traces there have neither a star nor one colour."""
    return go.Scatter(x=[None], y=[None], mode="markers", marker=marker, **_group(name) | {"showlegend": True})


def _scatter(points: NDArray[np.float64], *, flat: bool, **style: Any) -> Any:
    if flat:
        return go.Scatter(x=points[:, 0], y=points[:, 1], **style)
    return go.Scatter3d(x=points[:, 0], y=points[:, 1], z=points[:, 2], **style)


def measured(facts: LandscapeFacts, rows: NDArray[Any]) -> list[str]:
    """Returns the hover text after the value of a point: ± its std, the number of evaluations, seconds of each."""
    texts = []
    for std, count, seconds in zip(facts.std[rows], facts.counts[rows], facts.seconds[rows], strict=True):
        spread = "" if np.isnan(std) else f" ± {std:.3g} (n = {count})"
        texts.append(spread + ("" if np.isnan(seconds) else f"<br>{seconds:.3g} s"))
    return texts


def _hover(params: Sequence[str], what: str, *, flat: bool) -> str:
    """Returns a hover template with λ by name; `what` is its first line."""
    axes = zip(params, "xy" if flat else "xyz", strict=True)
    return "<br>".join([what, *(f"λ {as_hover(name)} = %{{{axis}:.3g}}" for name, axis in axes)])


def _named(params: Sequence[str], point: NDArray[np.float64]) -> str:
    return "<br>".join(f"λ {as_hover(name)} = {value:.3g}" for name, value in zip(params, point, strict=True))


def colorbar(facts: LandscapeFacts) -> dict[str, Any]:
    """Returns the colour bar of the objective, to the right of the figure."""
    return {
        "title": {"text": as_label(facts.objective, 40), "side": "right"},
        "thickness": 12,
        "len": 0.75,
        "outlinewidth": 0,
    }
