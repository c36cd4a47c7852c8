"""λ as a matrix: how much each source may teach each target, its spread, and its asymmetry."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo.plots._names import as_hover, as_label
from bilevel_hpo.plots._order import cluster_order
from bilevel_hpo.plots._sources import Matrix, matrix
from bilevel_hpo.plots._template import DIVERGING, SEQUENTIAL, TEMPLATE

__all__ = ["Order", "RatioHeatmapFacts", "Show", "ratio_heatmap", "ratio_heatmap_facts"]

Show = Literal["ratio", "std", "asymmetry"]
Order = Literal["given", "cluster"]

_MAX_WITH_TEXT = 12
_TITLES = {"ratio": "λ", "std": "std of λ", "asymmetry": "λ(s→t) − λ(t→s)"}


@dataclass(frozen=True, eq=False)
class RatioHeatmapFacts:
    """Everything that `ratio_heatmap` draws."""

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    ratios: NDArray[np.float64]
    """λ_{s→t}, `[targets, sources]`; NaN means no such λ."""
    std: NDArray[np.float64] | None
    """The spread of λ in the same shape, if given."""
    values: NDArray[np.float64]
    """The values of the colours in the same shape: λ, its std or λ_{s→t} − λ_{t→s}; NaN is not drawn."""
    show: Show
    low: float
    high: float
    """The range of the colours: from the smallest value or 0 to the largest; symmetric about 0 for the asymmetry."""
    with_text: bool
    """Numbers in the cells; off above 12 targets or sources."""

    def to_frame(self) -> pd.DataFrame:
        """Returns a row per cell drawn: target, source, lambda, then std and asymmetry if known."""
        shape = self.values.shape
        table = pd.DataFrame(
            {
                "target": np.repeat(np.array(self.targets, dtype=object), shape[1]),
                "source": np.tile(np.array(self.sources, dtype=object), shape[0]),
                "lambda": self.ratios.ravel(),
            }
        )
        if self.std is not None:
            table["std"] = self.std.ravel()
        if self.show == "asymmetry":
            table["asymmetry"] = self.values.ravel()
        return table[np.isfinite(self.values).ravel()].reset_index(drop=True)


def ratio_heatmap_facts(
    frame: Matrix,
    std: pd.DataFrame | None = None,
    *,
    diagonal: bool = True,
    high: float | None = None,
    show: Show = "ratio",
    order: Order = "given",
) -> RatioHeatmapFacts:
    """Returns what `ratio_heatmap` draws; the arguments and errors are the same."""
    if show not in _TITLES:
        raise ValueError(f"show must be one of {list(_TITLES)}; got {show!r}")
    if order not in ("given", "cluster"):
        raise ValueError(f"order must be 'given' or 'cluster'; got {order!r}")
    if show == "std" and std is None:
        raise ValueError("show is 'std', but no std is given")
    frame = matrix(frame)
    _checked(frame, std)
    if order == "cluster":
        names = cluster_order(frame)
        rows = [[str(name) for name in frame.index].index(name) for name in names]
        columns = [[str(name) for name in frame.columns].index(name) for name in names]
        frame = frame.iloc[rows, columns]
        std = None if std is None else std.iloc[rows, columns]
    targets, sources = tuple(map(str, frame.index)), tuple(map(str, frame.columns))
    ratios = frame.to_numpy(dtype=np.float64, na_value=np.nan).copy()
    spread = None if std is None else std.to_numpy(dtype=np.float64, na_value=np.nan)
    values = ratios.copy()
    if show == "std" and spread is not None:
        values = spread.copy()
    elif show == "asymmetry":
        if targets != sources:
            raise ValueError("show is 'asymmetry': index and columns must be the same names in the same order")
        values = ratios - ratios.T
    if not diagonal:
        values[np.array(targets)[:, None] == np.array(sources)[None, :]] = np.nan
    finite = values[np.isfinite(values)]
    top = float(np.abs(finite).max(initial=0.0) if show == "asymmetry" else finite.max(initial=0.0))
    top = top if high is None else high
    return RatioHeatmapFacts(
        targets=targets,
        sources=sources,
        ratios=ratios,
        std=spread,
        values=values,
        show=show,
        low=-top if show == "asymmetry" else float(min(finite.min(initial=0.0), 0.0)),
        high=top,
        with_text=max(values.shape) <= _MAX_WITH_TEXT,
    )


def ratio_heatmap(
    frame: Matrix,
    std: pd.DataFrame | None = None,
    *,
    diagonal: bool = True,
    high: float | None = None,
    show: Show = "ratio",
    order: Order = "given",
) -> go.Figure:
    """Draws a heat map of λ, with targets as rows from top to bottom and sources as columns.

    Args:
        frame: a learner with `TransferRatios`, the `TransferRatios`, or a learner's `trajectory` of them, whose last
            λ is drawn (without names). Or a table with targets as index and sources as columns; NaN means no such λ.
        std: the spread of each λ, for instance over seeds; shown on hover.
        diagonal: whether to draw a task as its own source.
        high: the upper end of the colour scale, to compare several maps; by default the largest value drawn.
        show: whether colours show λ, its std, or its asymmetry λ_{s→t} − λ_{t→s}: red if the row's task learns more
            from the column's than it teaches it.
        order: the order of rows and columns, as given or by `cluster_order(frame)`; the same for all three maps of a
            frame.

    Raises:
        TypeError: `frame` has no λ.
        ValueError: λ is not a matrix, the frame is empty, a name occurs twice, `std` has another shape or is missing to
            show, or targets and sources differ although the order or the asymmetry needs the same.
    """
    facts = ratio_heatmap_facts(frame, std, diagonal=diagonal, high=high, show=show, order=order)
    rows, columns = range(len(facts.targets)), range(len(facts.sources))
    targets, sources = [as_hover(name) for name in facts.targets], [as_hover(name) for name in facts.sources]
    map_ = go.Heatmap(
        x=[*columns],
        y=[*rows],
        z=facts.values,
        zmin=facts.low,
        zmax=facts.high if facts.high > facts.low else facts.low + 1,
        colorscale=DIVERGING if show == "asymmetry" else SEQUENTIAL,
        colorbar={"title": {"text": _TITLES[show], "side": "top"}, "thickness": 12, "outlinewidth": 0},
        hovertext=[
            [f"target {targets[t]}<br>source {sources[s]}<br>{_measured(facts, t, s)}" for s in columns] for t in rows
        ],
        hoverinfo="text",
        hoverongaps=False,
        xgap=1,
        ygap=1,
    )
    if facts.with_text:
        digits = ".2g" if show == "std" else "z.2f"
        text = [["" if np.isnan(value) else f"{value:{digits}}" for value in row] for row in facts.values]
        map_.update(text=text, texttemplate="%{text}")
    figure = go.Figure(map_, layout={"template": TEMPLATE})
    figure.update_xaxes(**_ticks(facts.sources), title_text="source", range=[-0.5, len(columns) - 0.5])
    figure.update_yaxes(**_ticks(facts.targets), title_text="target", range=[len(rows) - 0.5, -0.5])
    figure.add_annotation(
        text="rows: target, columns: source", x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="bottom"
    ).update_annotations(showarrow=False)
    return figure


def _checked(frame: pd.DataFrame, std: pd.DataFrame | None) -> None:
    if not frame.size:
        raise ValueError(f"frame must have at least one target and one source; got shape {frame.shape}")
    for what, names in (("index", [*map(str, frame.index)]), ("columns", [*map(str, frame.columns)])):
        if len(set(names)) < len(names):
            raise ValueError(f"frame's {what} name {sorted({n for n in names if names.count(n) > 1})} more than once")
    if std is not None and not (std.index.equals(frame.index) and std.columns.equals(frame.columns)):
        raise ValueError("std must have the same index and columns as frame")


def _ticks(names: tuple[str, ...]) -> dict[str, Any]:
    """Returns an axis with numbers as positions and names only as tick labels, so a task called "1" keeps its place."""
    return {
        "tickmode": "array",
        "tickvals": [*range(len(names))],
        "ticktext": [as_label(name) for name in names],
        "tickfont": {"size": 13 if len(names) <= 20 else 10},
        "showgrid": False,
        "zeroline": False,
    }


def _measured(facts: RatioHeatmapFacts, t: int, s: int) -> str:
    spread = "" if facts.std is None or np.isnan(facts.std[t, s]) else f" ± {facts.std[t, s]:.2g}"
    back = f"<br>other way {facts.ratios[s, t]:.3g}: {facts.values[t, s]:+.3g}" if facts.show == "asymmetry" else ""
    return f"λ = {facts.ratios[t, s]:.3g}{spread}{back}"
