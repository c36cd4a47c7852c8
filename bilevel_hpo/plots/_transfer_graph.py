"""Who teaches whom: the strongest λ as arrows from source to target."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo.plots._names import as_hover, as_label
from bilevel_hpo.plots._order import cluster_order
from bilevel_hpo.plots._ratio_heatmap import ratio_heatmap_facts
from bilevel_hpo.plots._sources import Matrix, matrix
from bilevel_hpo.plots._template import GREY, PALETTE, TEMPLATE, translucent

__all__ = ["TransferGraphFacts", "transfer_graph", "transfer_graph_facts"]

_STEPS = 17
_GAP = 0.035
"""Between the tip of an arrow and the middle of its target; the circle's radius is 1."""


@dataclass(frozen=True, eq=False)
class TransferGraphFacts:
    """Everything that `transfer_graph` draws, for T tasks."""

    tasks: tuple[str, ...]
    """In their order around the circle."""
    xy: NDArray[np.float64]
    """Their places on the unit circle, `[T, 2]`; the first at the top, then clockwise."""
    edges: pd.DataFrame
    """source, target, lambda, std (NaN if not given); the weakest first, so that the strongest are drawn on top."""
    of: int
    """λ > 0 that there are, those not drawn included."""

    def to_frame(self) -> pd.DataFrame:
        """Returns the edges drawn, the strongest first."""
        return self.edges.iloc[::-1].reset_index(drop=True)


def transfer_graph_facts(
    frame: Matrix, std: pd.DataFrame | None = None, *, top: int | None = None, threshold: float | None = None
) -> TransferGraphFacts:
    """Returns what `transfer_graph` draws; the arguments and errors are the same."""
    if top is not None and threshold is not None:
        raise ValueError(f"only one of top and threshold may be given; got top={top}, threshold={threshold}")
    if top is not None and top < 1:
        raise ValueError(f"top must be at least 1; got {top}")
    frame = matrix(frame)
    table = ratio_heatmap_facts(frame, std, diagonal=False).to_frame()
    tasks = cluster_order(frame)
    if "std" not in table:
        table["std"] = np.nan
    table = table.loc[table["lambda"] > 0, ["source", "target", "lambda", "std"]]
    edges = table.sort_values(["lambda", "source", "target"], ascending=[False, True, True])
    edges = (
        edges.head(2 * len(tasks) if top is None else top) if threshold is None else edges[edges["lambda"] >= threshold]
    )
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(tasks)) / len(tasks)
    xy = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return TransferGraphFacts(tasks, xy, edges.iloc[::-1].reset_index(drop=True), len(table))


def transfer_graph(
    frame: Matrix, std: pd.DataFrame | None = None, *, top: int | None = None, threshold: float | None = None
) -> go.Figure:
    """Draws a directed graph of the strongest λ: arrows from source to target, wide and dark for large λ.

    The tasks are on a circle in the order of `cluster_order`, so that most arrows are short; an arrow bends to its
    left, so that the two directions of a pair are distinct.

    Args:
        frame: as in `ratio_heatmap`, with the same names as targets and sources; NaN and λ ≤ 0 are no edges, nor is
            the diagonal.
        std: the spread of each λ, shown on hover.
        top: the number of edges; two per task if neither it nor `threshold` is given.
        threshold: the smallest λ of an edge.

    Raises:
        ValueError: both `top` and `threshold` are given, targets and sources differ, or as for `ratio_heatmap`.
    """
    facts = transfer_graph_facts(frame, std, top=top, threshold=threshold)
    figure = go.Figure(layout={"template": TEMPLATE, "showlegend": False})
    place = dict(zip(facts.tasks, facts.xy, strict=True))
    greatest = float(facts.edges["lambda"].max()) if len(facts.edges) else 1.0
    for edge in facts.edges.to_dict("records"):
        figure.add_trace(_arrow(edge, place, float(edge["lambda"]) / greatest))
    figure.add_trace(_nodes(facts))
    many = len(facts.tasks) > 12
    for task, (x, y) in place.items():
        figure.add_annotation(_name(task, x, y, many=many))
    said = f"{len(facts.edges)} strongest of {facts.of} λ, source → target"
    where = {"x": 0, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    figure.add_annotation(text=said, showarrow=False, **where)
    reach = 1.3 if many else 1.45
    figure.update_xaxes(visible=False, range=[-reach, reach])
    figure.update_yaxes(visible=False, range=[-reach, reach], scaleanchor="x", constrain="domain")
    return figure


def _arrow(edge: dict[Any, Any], place: dict[str, NDArray[np.float64]], strength: float) -> go.Scatter:
    start, end = place[edge["source"]], place[edge["target"]]
    chord = end - start
    left = np.array([-chord[1], chord[0]])
    # The longer the way, the more it is pulled to the middle of the circle; and each to its own left.
    control = (1 - 0.6 * min(1.0, float(np.linalg.norm(chord)))) * (start + end) / 2 + 0.18 * left
    # The last piece of a curve is nearly straight, along end − control.
    until = 1 - min(0.5, _GAP / (2 * float(np.linalg.norm(end - control))))
    at = np.linspace(0, until, _STEPS)[:, None]
    curve = (1 - at) ** 2 * start + 2 * at * (1 - at) * control + at**2 * end
    spread = "" if np.isnan(edge["std"]) else f" ± {edge['std']:.2g}"
    hover = f"{as_hover(edge['source'])} → {as_hover(edge['target'])}<br>λ = {edge['lambda']:.3g}{spread}"
    colour = translucent(PALETTE[0], 0.35 + 0.55 * strength)
    sizes = [0.0] * (len(curve) - 1) + [8 + 6 * strength]
    return go.Scatter(
        x=curve[:, 0].astype(np.float32),
        y=curve[:, 1].astype(np.float32),
        mode="lines+markers",
        line={"color": colour, "width": 0.8 + 3.2 * strength, "backoff": 0},
        marker={
            "symbol": "arrow",
            "angleref": "previous",
            "size": sizes,
            "color": colour,
            "opacity": 1,
            "line": {"width": 0},
        },
        hovertemplate=f"{hover}<extra></extra>",
    )


def _nodes(facts: TransferGraphFacts) -> go.Scatter:
    hover = []
    for task in facts.tasks:
        into, out = (facts.edges[facts.edges[end] == task]["lambda"] for end in ("target", "source"))
        degrees = (
            f"learns from {len(into)} (λ in all {into.sum():.3g})<br>teaches {len(out)} (λ in all {out.sum():.3g})"
        )
        hover.append(f"{as_hover(task)}<br>{degrees}")
    marker = {"size": 11, "color": PALETTE[1], "line": {"color": GREY, "width": 1}}
    return go.Scatter(
        x=facts.xy[:, 0], y=facts.xy[:, 1], mode="markers", marker=marker, hovertext=hover, hoverinfo="text"
    )


def _name(task: str, x: float, y: float, *, many: bool) -> dict[str, Any]:
    """Places a name beside its node; with many tasks along the radius, so that names do not overlap."""
    text = as_label(task, 14)
    label = {"text": text, "x": x, "y": y, "showarrow": False, "hovertext": as_hover(task)}
    if not many:
        beside = abs(x) >= 0.3
        side = {"xanchor": "left" if x > 0 else "right", "xshift": 9 if x > 0 else -9}
        over = {"yanchor": "bottom" if y > 0 else "top", "yshift": 7 if y > 0 else -7}
        return label | (side if beside else over)
    angle = -np.degrees(np.arctan2(y, x))
    turned = (angle + (180 if x < -1e-9 else 0) + 180) % 360 - 180
    away = 10 + 3.2 * min(len(task), 14)  # pixels to the middle of the text: half its width
    return label | {"textangle": turned, "font": {"size": 11}, "xshift": away * x, "yshift": away * y}
