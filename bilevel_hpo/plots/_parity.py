"""Predicted against measured values of one task: points, or their density if there are many."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from bilevel_hpo.plots._names import as_hover, as_label
from bilevel_hpo.plots._sources import array
from bilevel_hpo.plots._template import PALETTE, TEMPLATE

__all__ = ["ParityFacts", "parity", "parity_facts"]

_MAX_POINTS = 1_000
_BINS = 60
_DENSITY = [[0.0, "#4a7fb5"], [0.5, "#9a9a86"], [1.0, "#f0c04a"]]  # a lone point can be seen on white and on black


@dataclass(frozen=True, eq=False)
class ParityFacts:
    """Everything that `parity` draws, for n values."""

    measured: NDArray[np.float64]
    """`[n]`, in `unit`."""
    predicted: NDArray[np.float64]
    names: tuple[str, ...] | None
    """Names of the points, if given."""
    rmse: float
    """The root mean square error, in `unit`."""
    r2: float
    """Coefficient of determination, 1 − Σ(y − ŷ)² / Σ(y − ȳ)²; NaN if all measured values are the same."""
    left_out: int
    """Pairs in which one value is not finite."""
    edges: NDArray[np.float64] | None
    """Above 1,000 points: the edges of 60 bins, the same for both axes."""
    counts: NDArray[np.int64] | None
    """Above 1,000 points: the number of points in each bin, `[60, 60]`, rows: predicted."""
    task: str
    unit: str

    @property
    def n(self) -> int:
        """The number of pairs drawn."""
        return len(self.measured)

    def to_frame(self) -> pd.DataFrame:
        """Returns measured, predicted and, if given, name of every point, even if the figure shows bins."""
        table = pd.DataFrame({"measured": self.measured, "predicted": self.predicted})
        return table if self.names is None else table.assign(name=list(self.names))


def parity_facts(
    measured: ArrayLike, predicted: ArrayLike, *, task: str = "", unit: str = "", names: Sequence[str] | None = None
) -> ParityFacts:
    """Returns what `parity` draws; the arguments and errors are the same."""
    y, fitted = array(measured), array(predicted)
    if y.ndim != 1 or y.shape != fitted.shape:
        raise ValueError(
            f"measured and predicted must be one-dimensional and of equal length; got {y.shape} and {fitted.shape}"
        )
    if names is not None and len(names) != len(y):
        raise ValueError(f"names must have one entry for each of {len(y)} points; got {len(names)}")
    known = np.isfinite(y) & np.isfinite(fitted)
    if not known.any():
        raise ValueError(f"at least one pair must be finite; got {len(y)} pairs, none of them finite")
    kept = None if names is None else tuple(str(name) for name, there in zip(names, known, strict=True) if there)
    y, fitted = y[known], fitted[known]
    around = float(((y - y.mean()) ** 2).sum())
    edges = counts = None
    if len(y) > _MAX_POINTS:
        low, high = float(min(y.min(), fitted.min())), float(max(y.max(), fitted.max()))
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        counts = np.histogram2d(fitted, y, bins=(edges, edges))[0].astype(np.int64)
    return ParityFacts(
        measured=y,
        predicted=fitted,
        names=kept,
        rmse=float(np.sqrt(((y - fitted) ** 2).mean())),
        r2=1 - float(((y - fitted) ** 2).sum()) / around if around > 0 else float("nan"),
        left_out=int((~known).sum()),
        edges=edges,
        counts=counts,
        task=task,
        unit=unit,
    )


def parity(
    measured: ArrayLike, predicted: ArrayLike, *, task: str = "", unit: str = "", names: Sequence[str] | None = None
) -> go.Figure:
    """Draws predicted over measured values with the line of equality; RMSE and R² are in the title.

    Above 1,000 points it draws their number in 60 × 60 bins instead, on a logarithmic colour scale; a bin without
    a point has no colour.

    Args:
        measured: the measured values `[n]`, a tensor or anything NumPy reads; pairs with a non-finite value are left
            out, and the title says how many.
        predicted: the predicted values `[n]`.
        task: the name of the task, for the title.
        unit: the unit of both, for the axes and the RMSE.
        names: the names `[n]` of the points, for instance SMILES; shown on hover if points are drawn.

    Raises:
        ValueError: the shapes are wrong, or no pair is finite.
    """
    facts = parity_facts(measured, predicted, task=task, unit=unit, names=names)
    low = float(min(facts.measured.min(), facts.predicted.min()))
    high = float(max(facts.measured.max(), facts.predicted.max()))
    margin = 0.03 * (high - low) or 1.0
    figure = go.Figure(_points(facts) if facts.counts is None else _density(facts))
    ends = [low - margin, high + margin]
    line = {"color": PALETTE[1], "width": 1.5}
    figure.add_scatter(x=ends, y=ends, mode="lines", line=line, hoverinfo="skip")
    unit = as_label(facts.unit)
    after = f" ({unit})" if unit else ""
    figure.update_layout(template=TEMPLATE, showlegend=False, margin={"t": 56})
    figure.update_layout(title={"text": _title(facts), "x": 0, "xref": "paper", "font": {"size": 14}})
    figure.update_xaxes(title_text=f"measured{after}", range=ends, nticks=6, constrain="domain")
    figure.update_yaxes(title_text=f"predicted{after}", range=ends, nticks=6, scaleanchor="x", constrain="domain")
    return figure


def _title(facts: ParityFacts) -> str:
    unit = f" {as_label(facts.unit)}" if facts.unit else ""
    r2 = "" if np.isnan(facts.r2) else f", R² {facts.r2:.3f}"
    out = f", {facts.left_out:,} without a value" if facts.left_out else ""
    measures = f"RMSE {facts.rmse:.4g}{unit}{r2}, n = {facts.n:,}{out}"
    return f"{as_label(facts.task)}<br>{measures}" if facts.task else measures


def _points(facts: ParityFacts) -> go.Scatter:
    names = "" if facts.names is None else [as_hover(name) + "<br>" for name in facts.names]
    return go.Scatter(
        x=facts.measured.astype(np.float32),
        y=facts.predicted.astype(np.float32),
        mode="markers",
        marker={"color": PALETTE[0], "size": 6, "opacity": 0.7},
        customdata=names or None,
        hovertemplate=("%{customdata}" if names else "") + "measured %{x:.5g}<br>predicted %{y:.5g}<extra></extra>",
    )


def _density(facts: ParityFacts) -> go.Heatmap:
    assert facts.counts is not None
    assert facts.edges is not None
    z = np.log10(np.where(facts.counts > 0, facts.counts, np.nan))
    top = int(facts.counts.max())
    ticks = [tick for tick in (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 100_000) if tick <= top]
    bar = {"tickvals": np.log10(ticks), "ticktext": [f"{tick:,}" for tick in ticks], "title": {"text": "points"}}
    return go.Heatmap(
        x=facts.edges,
        y=facts.edges,
        z=z.astype(np.float32),
        customdata=facts.counts.astype(np.int32),
        zmin=0,
        zmax=max(float(np.log10(top)), 0.3),
        colorscale=_DENSITY,
        colorbar=bar | {"thickness": 12, "outlinewidth": 0},
        hoverongaps=False,
        hovertemplate="measured %{x:.4g}<br>predicted %{y:.4g}<br>%{customdata} points<extra></extra>",
    )
