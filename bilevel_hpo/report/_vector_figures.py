"""λ with one number for each label: a row for each if there are few, a histogram and the extremes if there are many."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo import plots
from bilevel_hpo.report._facts import MethodFacts, ReportFacts
from bilevel_hpo.report._lambda import LambdaFacts
from bilevel_hpo.report._lambda_words import least, strongest
from bilevel_hpo.report._parts import PageFigure

__all__ = ["VectorFacts", "vector_facts", "vector_figures"]

Array = NDArray[np.float64]

_ROWS = 40
"""λ that have a row each; of more, as many of the largest and smallest as fit."""
_BINS = 50
_WIDE = 100
"""Ratio of the ends of the middle 98 % above which the axis is logarithmic."""


@dataclass(frozen=True, eq=False)
class VectorFacts:
    """A vector of N λ, the largest first, for S seeds."""

    names: tuple[str, ...]
    mean: Array
    """Over the seeds, `[N]`."""
    by_seed: Array
    """`[S, N]`."""
    start: Array
    """Before training, mean over the seeds, `[N]`; NaN where it is not known."""

    def to_frame(self) -> pd.DataFrame:
        """Returns one row per λ: label, lambda, std (NaN for one seed), start."""
        several = len(self.by_seed) > 1
        std = self.by_seed.std(axis=0, ddof=1) if several else np.full(len(self.names), np.nan)
        return pd.DataFrame({"label": self.names, "lambda": self.mean, "std": std, "start": self.start})

    @property
    def log(self) -> bool:
        """Whether all λ are positive and spread over orders of magnitude."""
        if not (self.by_seed > 0).all():
            return False
        low, high = np.quantile(self.mean, [0.01, 0.99])
        return bool(high > _WIDE * low)

    def rows(self, number: int) -> "VectorFacts":
        """Returns the λ drawn in `number` rows: if there are more, half of them the largest and half the smallest."""
        N = len(self.names)
        half = number // 2
        kept = np.arange(N) if number >= N else np.r_[0:half, N - half : N]
        names = tuple(self.names[i] for i in kept)
        return VectorFacts(names, self.mean[kept], self.by_seed[:, kept], self.start[kept])


def vector_facts(facts: ReportFacts, method: MethodFacts, lambda_: LambdaFacts) -> VectorFacts:
    """Returns λ of `method` from the largest to the smallest, with its start from the history of λ."""
    order = np.argsort(-lambda_.mean, kind="stable")
    names = tuple(lambda_.names[i] for i in order)
    start = np.full(len(names), np.nan)
    history = facts.files.weights_history
    if history is not None:
        rows = history[history["method"] == method.name]
        first = rows[rows["epoch"] == rows["epoch"].min()]
        start = first.groupby("label")["lambda"].mean().reindex(list(names)).to_numpy(dtype=np.float64)
    return VectorFacts(names, lambda_.mean[order], lambda_.values[:, order], start)


def vector_figures(facts: ReportFacts, method: MethodFacts, lambda_: LambdaFacts, id_: str) -> Iterator[PageFigure]:
    """Draws λ of one method, which is not a matrix."""
    found = vector_facts(facts, method, lambda_)
    N, S = found.by_seed.shape[1], len(found.by_seed)
    over = f" Mean over {S} seeds; ticks: the seeds." if S > 1 else ""
    scale = f", {facts.lambda_note}" if facts.lambda_note else ""
    begun = " Circles: the start." if np.isfinite(found.start).any() else ""
    shown = found.rows(_ROWS)
    if len(shown.names) < N:
        shown = found.rows(_ROWS // 2)
        lines = " Dotted: the start." if np.isfinite(found.start).any() else ""
        averaged = f", each its mean over {S} seeds" if S > 1 else ""
        yield PageFigure(
            f"lambda-spread-{id_}",
            f"{N:,} λ",
            f"How many λ have which value{scale}{averaged}.{lines} Largest: {strongest(lambda_, 3)}. "
            f"Smallest: {least(lambda_, 3)}.",
            _histogram(found),
            found.to_frame(),
            height=340,
        )
    several = (
        f"The {len(shown.names) // 2} largest and the {len(shown.names) // 2} smallest λ"
        if len(shown.names) < N
        else "λ"
    )
    yield PageFigure(
        f"lambda-{id_}",
        several if len(shown.names) < N else "λ of each label",
        f"{several}{scale}, from the largest to the smallest.{over}{begun}",
        _dots(shown),
        shown.to_frame(),
        height=110 + 22 * len(shown.names),
    )


def _dots(found: VectorFacts) -> go.Figure:
    figure = go.Figure(layout={"template": plots.TEMPLATE})
    rows, S = np.arange(len(found.names)), len(found.by_seed)
    if np.isfinite(found.start).any():
        figure.add_scatter(
            x=found.start,
            y=rows,
            mode="markers",
            name="start",
            marker={"symbol": "circle-open", "size": 9, "color": "#868e9a"},
            hovertemplate="start %{x:.4g}<extra></extra>",
        )
    if S > 1:
        figure.add_scatter(
            x=found.by_seed.ravel(),
            y=np.tile(rows, S),
            mode="markers",
            name="a seed",
            marker={"symbol": "line-ns-open", "size": 9, "color": plots.PALETTE[1], "line": {"width": 1.5}},
            hovertemplate="a seed %{x:.4g}<extra></extra>",
        )
    figure.add_scatter(
        x=found.mean,
        y=rows,
        mode="markers",
        name="λ, mean over the seeds" if S > 1 else "λ",
        marker={"size": 9, "color": plots.PALETTE[0]},
        hovertext=[f"{plots.as_hover(n)}<br>λ = {v:.4g}" for n, v in zip(found.names, found.mean, strict=True)],
        hoverinfo="text",
    )
    figure.update_yaxes(tickvals=rows, ticktext=[plots.as_label(name) for name in found.names])
    figure.update_yaxes(range=[len(rows) - 0.5, -0.5])
    figure.update_xaxes(title_text="λ", **_axis(found))
    return figure


def _histogram(found: VectorFacts) -> go.Figure:
    figure = go.Figure(layout={"template": plots.TEMPLATE})
    known = np.isfinite(found.start).any()
    values = np.concatenate([found.mean, found.start[np.isfinite(found.start)]])
    low, high = float(values.min()), float(values.max())
    pad = 0.01 * (high - low) or 0.01 * abs(high) or 1.0
    edges = (
        np.geomspace(low / 1.01, high * 1.01, _BINS + 1) if found.log else np.linspace(low - pad, high + pad, _BINS + 1)
    )
    steps = _steps(found.mean, edges)
    highest = 1.1 * float(max(steps["y"]))
    if known:
        one = np.nanmin(found.start) == np.nanmax(found.start)
        start = {"x": [np.nanmin(found.start)] * 2, "y": [0, highest]} if one else _steps(found.start, edges)
        line = {"color": "#868e9a", "width": 2, "shape": "hv", "dash": "dot"}
        figure.add_scatter(**start, mode="lines", line=line, name="start", hoverinfo="skip")
    line = {"color": plots.PALETTE[0], "width": 1.5, "shape": "hv"}
    figure.add_scatter(
        **steps,
        mode="lines",
        fill="tozeroy",
        line=line,
        name="after training" if known else "λ",
        hovertext=[f"{n:.0f} λ from {a:.3g} to {b:.3g}" for n, a, b in zip(steps["y"], edges, edges[1:], strict=False)],
        hoverinfo="text",
    )
    figure.update_yaxes(title_text="number of λ", range=[0, highest])
    figure.update_xaxes(title_text="λ", **({"type": "log"} if found.log else {}))
    return figure


def _steps(values: Array, edges: Array) -> dict[str, Array]:
    counts = np.histogram(values[np.isfinite(values)], edges)[0]
    return {"x": edges, "y": np.append(counts, 0)}


def _axis(found: VectorFacts) -> dict[str, str]:
    return {"type": "log"} if found.log else {"rangemode": "tozero"}
