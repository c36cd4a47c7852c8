"""λ as a matrix: how much each source may teach each target."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo.plots._names import as_text
from bilevel_hpo.plots._template import SEQUENTIAL, TEMPLATE

__all__ = ["RatioHeatmapFacts", "ratio_heatmap", "ratio_heatmap_facts"]

_MAX_WITH_TEXT = 12


@dataclass(frozen=True, eq=False)
class RatioHeatmapFacts:
    """Everything that `ratio_heatmap` draws."""

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    values: NDArray[np.float64]
    """λ_{s→t}, `[targets, sources]`; NaN = nothing drawn there."""
    std: NDArray[np.float64] | None
    """Its spread, the same shape, if given."""
    low: float
    high: float
    """Range of the colours: from the least value or 0 to the greatest."""
    with_text: bool
    """Numbers in the cells; off above 12 targets or sources."""


def ratio_heatmap_facts(
    frame: pd.DataFrame, std: pd.DataFrame | None = None, *, diagonal: bool = True, high: float | None = None
) -> RatioHeatmapFacts:
    """What `ratio_heatmap` draws; its arguments and errors are the same."""
    targets, sources = tuple(map(str, frame.index)), tuple(map(str, frame.columns))
    if not targets or not sources:
        raise ValueError(f"frame has shape {frame.shape}; at least one target and one source are wanted")
    for what, names in (("index", targets), ("columns", sources)):
        if len(set(names)) < len(names):
            raise ValueError(f"frame's {what} name {sorted({n for n in names if names.count(n) > 1})} more than once")
    values = frame.to_numpy(dtype=np.float64, na_value=np.nan).copy()
    if not diagonal:
        values[np.array(targets)[:, None] == np.array(sources)[None, :]] = np.nan
    spread = None
    if std is not None:
        if not (std.index.equals(frame.index) and std.columns.equals(frame.columns)):
            raise ValueError("std has another index or other columns than frame; the same are wanted")
        spread = std.to_numpy(dtype=np.float64, na_value=np.nan)
    finite = values[np.isfinite(values)]
    return RatioHeatmapFacts(
        targets=targets,
        sources=sources,
        values=values,
        std=spread,
        low=float(min(finite.min(initial=0.0), 0.0)),
        high=float(finite.max(initial=0.0)) if high is None else high,
        with_text=max(values.shape) <= _MAX_WITH_TEXT,
    )


def ratio_heatmap(
    frame: pd.DataFrame, std: pd.DataFrame | None = None, *, diagonal: bool = True, high: float | None = None
) -> go.Figure:
    """Heat map of λ; the targets are rows from top to bottom, the sources columns.

    Args:
        frame: index = targets, columns = sources, such as `TransferRatios.to_frame()`; NaN = no such λ.
        std: spread of each λ, for instance over seeds; shown on hover.
        diagonal: draw a task as its own source.
        high: upper end of the colours, to compare several maps; the greatest λ drawn if left out.

    Raises:
        ValueError: an empty frame, a name that comes twice, or a `std` of another shape.
    """
    facts = ratio_heatmap_facts(frame, std, diagonal=diagonal, high=high)
    rows, columns = range(len(facts.targets)), range(len(facts.sources))
    hover = [[_hover(facts, t, s) for s in columns] for t in rows]
    map_ = go.Heatmap(
        x=[*columns],
        y=[*rows],
        z=facts.values,
        zmin=facts.low,
        zmax=facts.high if facts.high > facts.low else facts.low + 1,
        colorscale=SEQUENTIAL,
        colorbar={"title": {"text": "λ", "side": "top"}, "thickness": 12, "outlinewidth": 0},
        hovertext=hover,
        hoverinfo="text",
        hoverongaps=False,
        xgap=1,
        ygap=1,
    )
    if facts.with_text:
        map_.update(text=[[_cell(v) for v in row] for row in facts.values], texttemplate="%{text}")
    # Positions are numbers and the names only tick labels: a task called "1" or "2024-01-01" keeps its place.
    ticks = {"showgrid": False, "zeroline": False, "tickmode": "array"}
    size = {"tickfont": {"size": 13 if len(facts.sources) <= 20 else 10}}
    x = {"title": {"text": "source"}, "tickvals": [*columns], "ticktext": [as_text(n) for n in facts.sources]}
    y = {"title": {"text": "target"}, "tickvals": [*rows], "ticktext": [as_text(n) for n in facts.targets]}
    figure = go.Figure(map_, layout={"template": TEMPLATE})
    figure.update_xaxes(**ticks, **size, **x, range=[-0.5, len(columns) - 0.5])
    figure.update_yaxes(**ticks, **size, **y, range=[len(rows) - 0.5, -0.5])
    figure.add_annotation(
        text="rows: target, columns: source", x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="bottom"
    ).update_annotations(showarrow=False)
    return figure


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _hover(facts: RatioHeatmapFacts, t: int, s: int) -> str:
    spread = "" if facts.std is None or np.isnan(facts.std[t, s]) else f" ± {facts.std[t, s]:.2g}"
    names = f"target {as_text(facts.targets[t])}<br>source {as_text(facts.sources[s])}"
    return f"{names}<br>λ = {facts.values[t, s]:.3g}{spread}"
