"""λ over the training: a line for each, or ribbons of quantiles when there are many."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo.plots._names import as_hover, as_label
from bilevel_hpo.plots._sources import Lambdas, lambda_path
from bilevel_hpo.plots._template import DASHES, PALETTE, TEMPLATE, translucent

__all__ = ["TrajectoryFacts", "trajectory", "trajectory_facts"]

_MAX_LINES = 12
_RIBBONS = ((0.0, 1.0), (0.1, 0.9), (0.25, 0.75))


@dataclass(frozen=True, eq=False)
class TrajectoryFacts:
    """Everything that `trajectory` draws."""

    epochs: NDArray[np.float64]
    """`[E]`, rising; the numbers of outer steps where `x` says so."""
    lines: dict[str, NDArray[np.float64]]
    """λ by name, `[E]` each; up to 12."""
    quantiles: dict[float, NDArray[np.float64]]
    """Above 12 λ: their quantile over the names at each epoch, `[E]` each, by probability; then there are no lines."""
    names: int
    """Number of λ."""
    x: str = "epoch"
    """The unit of `epochs`: "epoch" or "outer step"."""

    def to_frame(self) -> pd.DataFrame:
        """Returns a row per epoch or outer step, and a column per λ, or per quantile, as drawn."""
        columns = self.lines or {f"quantile {p:g}": values for p, values in self.quantiles.items()}
        return pd.DataFrame({self.x: self.epochs} | columns)


def trajectory_facts(history: Lambdas) -> TrajectoryFacts:
    """Returns what `trajectory` draws; the argument and errors are the same."""
    path = lambda_path(history)
    if path.empty:
        raise ValueError(f"history must have a row per epoch and a column per λ; got shape {path.shape}")
    if not path.columns.is_unique:
        raise ValueError(f"history names {sorted(set(path.columns[path.columns.duplicated()]))} more than once")
    x = "outer step" if path.index.name == "outer step" else "epoch"
    ordered = path.sort_index()
    epochs = ordered.index.to_numpy(dtype=np.float64)
    values = ordered.to_numpy(dtype=np.float64)
    if values.shape[1] <= _MAX_LINES:
        lines = {str(name): values[:, column] for column, name in enumerate(ordered.columns)}
        return TrajectoryFacts(epochs, lines, {}, len(lines), x)
    wanted = sorted({p for ribbon in _RIBBONS for p in ribbon} | {0.5})
    quantiles = dict(zip(wanted, np.nanquantile(values, wanted, axis=1), strict=True))
    return TrajectoryFacts(epochs, {}, quantiles, values.shape[1], x)


def trajectory(history: Lambdas) -> go.Figure:
    """Draws λ over epochs, or over outer steps.

    Args:
        history: a learner; its `trajectory` (λ is then named by position); its `history`, for a figure over
            outer steps; or a table with epochs as index (0 is before training) and names of λ as columns. Above 12 λ
            the
            figure shows the median and three ribbons instead: all λ, the middle 80 % and the middle 50 %.

    Raises:
        TypeError: the argument is something else.
        ValueError: there is no row or column, a name occurs twice, or the frame has no λ (`epochs`).
    """
    facts = trajectory_facts(history)
    figure = go.Figure(layout={"template": TEMPLATE, "xaxis_title_text": facts.x, "yaxis_title_text": "λ"})
    figure.update_layout(hovermode="x unified")
    figure.update_yaxes(rangemode="tozero")
    for index, (name, values) in enumerate(facts.lines.items()):
        line = {"color": PALETTE[index % len(PALETTE)], "dash": DASHES[index // len(PALETTE)], "width": 2}
        figure.add_scatter(
            x=facts.epochs,
            y=values,
            mode="lines",
            name=as_label(name),
            line=line,
            hovertemplate=f"{as_hover(name)} %{{y:.3g}}<extra></extra>",
        )
    if facts.quantiles:
        labels = (f"all {facts.names} λ", "middle 80 %", "middle 50 %")
        for (low, high), label, alpha in zip(_RIBBONS, labels, (0.13, 0.2, 0.3), strict=True):
            figure.add_scatter(
                x=np.concatenate([facts.epochs, facts.epochs[::-1]]),
                y=np.concatenate([facts.quantiles[high], facts.quantiles[low][::-1]]),
                mode="lines",
                fill="toself",
                fillcolor=translucent(PALETTE[0], alpha),
                line={"width": 0},
                name=label,
                hoverinfo="skip",
            )
        for probability, values in sorted(facts.quantiles.items(), reverse=True):
            middle = probability == 0.5
            figure.add_scatter(
                x=facts.epochs,
                y=values,
                mode="lines",
                name="median" if middle else f"quantile {probability:g}",
                showlegend=middle,
                line={"color": PALETTE[0], "width": 2 if middle else 0},
                hovertemplate="%{y:.3g}",
            )
    return figure
