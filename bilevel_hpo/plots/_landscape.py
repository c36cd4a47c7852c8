"""Figure 1 of the paper: the objective over two or three λ, the best point, and the way of the learned λ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo.plots._landscape_facts import LandscapeFacts, landscape_facts
from bilevel_hpo.plots._template import PALETTE, SEQUENTIAL, TEMPLATE, as_scene_text, as_text

__all__ = ["landscape"]

_SYMBOLS = ("circle", "square", "cross")
_BEST, _LEARNED = PALETTE[1], (PALETTE[3], PALETTE[2], PALETTE[5], PALETTE[4])
_EDGE = "rgba(128, 134, 146, 0.9)"


def landscape(
    study: "optuna.Study | LandscapeFacts",
    learned: "Mapping[str, float] | pd.DataFrame | Sequence[Any] | NDArray[np.float64] | None" = None,
    *,
    params: Sequence[str] | None = None,
) -> go.Figure:
    """Scatter of the complete trials over three λ (or two), colour = objective, star = best, diamond = learned λ.

    Args:
        study: an Optuna study with one objective, or facts from `LandscapeFacts.from_frame`. Only complete trials
            count; trials that `search.record` put in are learned λ and drawn as diamonds.
        learned: λ by name, a point; or a DataFrame, array `[steps, P]` or list of such points in the order of
            training, a trajectory that is drawn as a line with its start; or a list of trajectories, one per seed.
        params: the names to draw. May be left out if the study has two or three numeric parameters.

    Raises:
        ValueError: no complete trial; other than two or three parameters and no `params`; learned λ that lacks a
            name or has another shape.
    """
    if isinstance(study, LandscapeFacts):
        if learned is not None or params is not None:
            raise ValueError("learned and params are part of LandscapeFacts; give them to LandscapeFacts.from_frame")
        facts = study
    else:
        facts = landscape_facts(study, learned, params=params)
    flat = len(facts.params) == 2
    figure = go.Figure(layout={"template": TEMPLATE})
    for index, kind in enumerate(facts.best):
        for trace in _points(facts, kind, _SYMBOLS[index % len(_SYMBOLS)], flat=flat):
            figure.add_trace(trace)
    named = list(dict.fromkeys(facts.names))
    for index, (name, path) in enumerate(zip(facts.names, facts.trajectories, strict=True)):
        colour = _LEARNED[named.index(name) % len(_LEARNED)]
        for trace in _trajectory(facts, name, path, colour, first=facts.names.index(name) == index, flat=flat):
            figure.add_trace(trace)
    for index, kind in enumerate(facts.best):
        for trace in _star(facts, kind, first=index == 0, flat=flat):
            figure.add_trace(trace)
    write = as_text if flat else as_scene_text
    titles = [f"λ {write(name)}" for name in facts.params]
    scale = {"colorscale": SEQUENTIAL, "colorbar": _colorbar(facts)}
    if flat:
        figure.update_layout(xaxis_title_text=titles[0], yaxis_title_text=titles[1], coloraxis=scale)
    else:
        axes: dict[str, Any] = {
            f"{axis}axis": {"title": {"text": title}} for axis, title in zip("xyz", titles, strict=True)
        }
        hidden = {"visible": False, "fixedrange": True}
        scene = axes | {"camera": {"eye": {"x": 1.55, "y": -1.55, "z": 0.75}}, "aspectmode": "cube"}
        figure.update_layout(scene=scene, coloraxis=scale, xaxis=hidden, yaxis=hidden)
        figure.update_layout(margin={"l": 0, "r": 0, "t": 40, "b": 0})
    return figure


def _points(facts: LandscapeFacts, kind: str, symbol: str, *, flat: bool) -> list[Any]:
    rows = np.array([group == kind for group in facts.groups])
    spread = [
        "" if np.isnan(std) else f" ± {std:.3g} (n = {count})"
        for std, count in zip(facts.std[rows], facts.counts[rows], strict=True)
    ]
    hover = [
        f"{as_text(kind)}<br>{_named(facts.params, point)}<br>{as_text(facts.objective)} {value:.5g}{after}"
        for point, value, after in zip(facts.points[rows], facts.values[rows], spread, strict=True)
    ]
    marker = {
        "color": facts.values[rows],
        "coloraxis": "coloraxis",
        "symbol": symbol,
        "size": 9 if flat else 4.5,
        "line": {"width": 1, "color": _EDGE},
    }
    points = _scatter(facts.points[rows], flat=flat, mode="markers", marker=marker, hovertext=hover, **_group(kind))
    return [points, _key(kind, {"symbol": symbol, "size": 9, "color": _EDGE})]


def _trajectory(
    facts: LandscapeFacts, name: str, path: NDArray[np.float64], colour: str, *, first: bool, flat: bool
) -> list[Any]:
    """The way as a line, an open circle at its start, a diamond at its end; only the diamond is in the legend."""
    shown = as_text(name)
    shared: dict[str, Any] = {"flat": flat, "hoverinfo": "text", "name": shown, "legendgroup": shown}
    traces = []
    if len(path) > 1:
        steps = [f"{shown}, step {step}<br>{_named(facts.params, point)}" for step, point in enumerate(path)]
        line = {"color": colour, "width": 2 if flat else 5}
        traces.append(_scatter(path, mode="lines", line=line, showlegend=False, hovertext=steps, **shared))
        start = {"symbol": "circle-open", "size": 10 if flat else 7, "color": colour, "line": {"width": 2}}
        at = [f"{shown}, start<br>{_named(facts.params, path[0])}"]
        traces.append(_scatter(path[:1], mode="markers", marker=start, showlegend=False, hovertext=at, **shared))
    end = {"symbol": "diamond", "size": 13 if flat else 7, "color": colour, "line": {"color": "white", "width": 1}}
    at = [f"{shown}, end<br>{_named(facts.params, path[-1])}"]
    traces.append(_scatter(path[-1:], mode="markers", marker=end, showlegend=first, hovertext=at, **shared))
    return traces


def _star(facts: LandscapeFacts, kind: str, *, first: bool, flat: bool) -> list[Any]:
    row = facts.best[kind]
    point = facts.points[row : row + 1]
    hover = [f"best of {as_text(kind)}<br>{_named(facts.params, point[0])}<br>{facts.values[row]:.5g}"]
    marker = {"symbol": "star", "size": 17, "color": _BEST, "line": {"color": "white", "width": 1}}
    if flat:
        star = _scatter(point, flat=True, mode="markers", marker=marker, hovertext=hover, **_group("best"))
    else:  # scatter3d has no star symbol, so it is a letter
        style = {"text": ["★"], "textfont": {"color": _BEST, "size": 34}, "textposition": "middle center"}
        star = _scatter(point, flat=False, mode="text", hovertext=hover, **style, **_group("best"))
    return [star, _key("best", marker)] if first else [star]


def _group(name: str) -> dict[str, Any]:
    return {"name": as_text(name), "legendgroup": as_text(name), "showlegend": False, "hoverinfo": "text"}


def _key(name: str, marker: Mapping[str, Any]) -> go.Scatter:
    """Stands for a group in the legend, where WebGL traces have neither a star nor one colour."""
    return go.Scatter(x=[None], y=[None], mode="markers", marker=marker, **_group(name) | {"showlegend": True})


def _scatter(points: NDArray[np.float64], *, flat: bool, **style: Any) -> Any:
    if flat:
        return go.Scatter(x=points[:, 0], y=points[:, 1], **style)
    return go.Scatter3d(x=points[:, 0], y=points[:, 1], z=points[:, 2], **style)


def _named(params: Sequence[str], point: NDArray[np.float64]) -> str:
    return "<br>".join(f"λ {as_text(name)} = {value:.3g}" for name, value in zip(params, point, strict=True))


def _colorbar(facts: LandscapeFacts) -> dict[str, Any]:
    return {
        "title": {"text": as_text(facts.objective), "side": "right"},
        "thickness": 12,
        "len": 0.75,
        "outlinewidth": 0,
    }
