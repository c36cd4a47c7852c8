"""Figure 3 of the paper: validation over training, mean ± std over seeds, one line per method."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo.plots._names import as_text
from bilevel_hpo.plots._template import DASHES, PALETTE, TEMPLATE, translucent

__all__ = ["ConvergenceFacts", "Curve", "convergence", "convergence_facts"]

Axis = Literal["epoch", "seconds"]


@dataclass(frozen=True, eq=False)
class Curve:
    """One method; arrays `[E]`, in the order of the epochs."""

    x: NDArray[np.float64]
    """Epoch, or the mean over seeds of the seconds since the start."""
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    """Sample standard deviation over seeds (ddof = 1); 0 where there is one seed."""
    seeds: int


@dataclass(frozen=True, eq=False)
class ConvergenceFacts:
    """Everything that `convergence` draws."""

    curves: dict[str, Curve]
    """By method, in the order of the table."""
    x: Axis


def convergence_facts(history: pd.DataFrame, *, x: Axis = "epoch") -> ConvergenceFacts:
    """What `convergence` draws; its arguments and errors are the same."""
    if x not in ("epoch", "seconds"):
        raise ValueError(f"x is {x!r}; 'epoch' or 'seconds' is wanted")
    wanted = ["method", "seed", "epoch", "val", *(["seconds"] if x == "seconds" else [])]
    missing = [name for name in wanted if name not in history.columns]
    if missing:
        raise ValueError(f"history lacks the columns {missing}; it has {list(history.columns)}")
    if history.empty:
        raise ValueError("history has no rows; one per method, seed and epoch is wanted")
    doubled = history.duplicated(["method", "seed", "epoch"])
    if doubled.any():
        row = history.loc[doubled].iloc[0]
        raise ValueError(f"history has method {row['method']!r}, seed {row['seed']}, epoch {row['epoch']} twice")
    curves = {}
    for method, rows in history.groupby("method", sort=False):
        by_epoch = rows.groupby("epoch")
        curves[str(method)] = Curve(
            x=by_epoch[x].mean().to_numpy(dtype=np.float64) if x == "seconds" else np.array([*by_epoch.groups], float),
            mean=by_epoch["val"].mean().to_numpy(dtype=np.float64),
            std=np.nan_to_num(by_epoch["val"].std().to_numpy(dtype=np.float64)),
            seeds=int(rows["seed"].nunique()),
        )
    return ConvergenceFacts(curves, x)


def convergence(history: pd.DataFrame, *, x: Axis = "epoch", label: str = "validation loss") -> go.Figure:
    """Validation curve, a line for the mean over seeds and a band for ± one standard deviation.

    Args:
        history: one row per (method, seed, epoch), with the columns method, seed, epoch, val and, for `x="seconds"`,
            seconds since the start of that training.
        x: over epochs, or over seconds: then an epoch stands at the mean of its seconds over the seeds.
        label: title of the vertical axis.

    Raises:
        ValueError: a column is missing, there is no row, or an epoch comes twice.
    """
    facts = convergence_facts(history, x=x)
    figure = go.Figure(layout={"template": TEMPLATE, "xaxis_title_text": x, "yaxis_title_text": as_text(label)})
    for index, (method, curve) in enumerate(facts.curves.items()):
        colour, dash = PALETTE[index % len(PALETTE)], DASHES[index % len(DASHES)]
        shared = {"legendgroup": str(index), "mode": "lines"}
        if curve.seeds > 1:
            figure.add_scatter(
                x=np.concatenate([curve.x, curve.x[::-1]]),
                y=np.concatenate([curve.mean + curve.std, (curve.mean - curve.std)[::-1]]),
                fill="toself",
                fillcolor=translucent(colour, 0.16),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                **shared,
            )
        spread = [f" ± {std:.2g} ({curve.seeds} seeds)" if curve.seeds > 1 else "" for std in curve.std]
        figure.add_scatter(
            x=curve.x,
            y=curve.mean,
            name=as_text(method),
            line={"color": colour, "dash": dash, "width": 2},
            customdata=spread,
            hovertemplate=f"{x} %{{x:.4~g}}: %{{y:.4g}}%{{customdata}}",
            **shared,
        )
    return figure
