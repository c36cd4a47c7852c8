"""Figure 3 of the paper: validation loss over training, mean ± std over seeds, with the best values of searches."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo.plots._names import as_hover, as_label, as_text
from bilevel_hpo.plots._sources import Runs, validation_table
from bilevel_hpo.plots._template import DASHES, PALETTE, TEMPLATE, translucent

__all__ = ["ConvergenceFacts", "Curve", "convergence", "convergence_facts"]

Axis = Literal["epoch", "seconds"]

_FAR = 5


@dataclass(frozen=True, eq=False)
class Curve:
    """The curve of one method; arrays `[E]`, in the order of the epochs."""

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
    searches: dict[str, Curve]
    """Best value so far of each search, by its name; it changes at `x` and stays until the next `x`."""

    def to_frame(self) -> pd.DataFrame:
        """Returns a row per method or search and x: kind, method, epoch or seconds, mean, std, seeds."""
        found = [("training", self.curves), ("search", self.searches)]
        tables = [
            pd.DataFrame({"kind": kind, "method": name, self.x: c.x, "mean": c.mean, "std": c.std, "seeds": c.seeds})
            for kind, curves in found
            for name, c in curves.items()
        ]
        return pd.concat(tables, ignore_index=True)


def convergence_facts(
    history: Runs, *, x: Axis = "epoch", searches: pd.DataFrame | None = None, maximize: bool = False
) -> ConvergenceFacts:
    """Returns what `convergence` draws; the arguments and errors are the same."""
    if searches is not None and x != "seconds":
        raise ValueError(f"x must be 'seconds' with searches, which have no epochs; got {x!r}")
    if x not in ("epoch", "seconds"):
        raise ValueError(f"x must be 'epoch' or 'seconds'; got {x!r}")
    history = validation_table(history)
    wanted = ["method", "seed", "epoch", "val", *(["seconds"] if x == "seconds" else [])]
    missing = [name for name in wanted if name not in history.columns]
    if missing:
        raise ValueError(f"history lacks the columns {missing}; it has {list(history.columns)}")
    if history.empty:
        raise ValueError("history must have a row per method, seed and epoch; it has no rows")
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
    return ConvergenceFacts(curves, x, {} if searches is None else _best_so_far(searches, maximize))


def _best_so_far(searches: pd.DataFrame, maximize: bool) -> dict[str, Curve]:
    """Returns mean and std over the seeds of the best value up to each moment, from when every seed has one.

    A finished search keeps its best value and stays in the mean.
    """
    missing = [name for name in ("method", "seed", "seconds", "val") if name not in searches.columns]
    if missing:
        raise ValueError(f"searches lack the columns {missing}; they have {list(searches.columns)}")
    negative = ~(searches["seconds"] >= 0)
    if negative.any():
        row = searches.loc[negative].iloc[0]
        raise ValueError(f"searches: a trial of {row['method']!r}, seed {row['seed']}, took {row['seconds']} seconds")
    curves = {}
    for method, rows in searches.groupby("method", sort=False):
        seeds = []
        for _, trials in rows.groupby("seed", sort=False):
            accumulate = np.fmax.accumulate if maximize else np.fmin.accumulate  # NaN, a diverged training, is no best
            best = accumulate(trials["val"].to_numpy(dtype=np.float64))
            at = np.cumsum(trials["seconds"].to_numpy(dtype=np.float64))
            known = np.isfinite(best)
            if known.any():
                seeds.append((at[known], best[known], at[-1]))
        if not seeds:
            raise ValueError(f"searches: no trial of {str(method)!r} has a finite val")
        begin, end = max(at[0] for at, _, _ in seeds), max(last for _, _, last in seeds)
        changes = np.concatenate([at[1:][np.diff(best) != 0] for at, best, _ in seeds])
        x = np.unique(np.concatenate([[begin, end], changes[changes > begin]]))
        found = np.array([best[np.searchsorted(at, x, side="right") - 1] for at, best, _ in seeds])
        std = found.std(axis=0, ddof=1) if len(seeds) > 1 else np.zeros(len(x))
        curves[str(method)] = Curve(x=x, mean=found.mean(axis=0), std=std, seeds=len(seeds))
    return curves


def convergence(
    history: Runs,
    *,
    x: Axis = "epoch",
    label: str = "validation loss",
    searches: pd.DataFrame | None = None,
    maximize: bool = False,
) -> go.Figure:
    """Draws validation curves: a line for the mean over seeds and a band for ± one standard deviation.

    Args:
        history: a learner, its `epochs` or its `history` (the mean over the outer steps of an epoch); a list of these,
            one per seed; or a dict of methods, each with one or a list. Or a table with one row per (method, seed,
            epoch) and the columns method, seed, epoch, val and, for `x="seconds"`, seconds since the start of that
            training. For a learner, `val_loss` is drawn in the epochs that have one: see `Epoch.val_loss` for what it
            is, and compare trainings only if it was measured in the same way (`fit(validate=True)`).
        x: "epoch" or "seconds"; with seconds an epoch is placed at the mean of its seconds over the seeds.
        label: the title of the vertical axis.
        searches: a table for `x="seconds"` only, one row per trial in the order they ran, with the columns method,
            seed, seconds (of that trial alone) and val; drawn as steps of the best value so far over the time of all
            trials so far. The trials of a seed count as if they ran one after the other. If a search
            takes over five times as long as the trainings, the axis of seconds is logarithmic.

    Raises:
        TypeError: a training is neither a learner nor a frame.
        ValueError: a column is missing, there is no row or no validation loss, an epoch comes twice, a search is given
            over epochs, a trial took less than no time, or a search has no finite value.
    """
    facts = convergence_facts(history, x=x, searches=searches, maximize=maximize)
    figure = go.Figure(layout={"template": TEMPLATE, "xaxis_title_text": x, "yaxis_title_text": as_text(label)})
    longest = max(curve.x[-1] for curve in facts.curves.values())
    if any(curve.x[-1] > _FAR * longest for curve in facts.searches.values()):
        figure.update_xaxes(type="log")
    drawn = [(name, curve, False) for name, curve in facts.curves.items()]
    drawn += [(f"{name}, best so far", curve, True) for name, curve in facts.searches.items()]
    for index, (name, curve, steps) in enumerate(drawn):
        for trace in _band_and_line(name, curve, index, x, steps=steps):
            figure.add_trace(trace)
    return figure


def _band_and_line(name: str, curve: Curve, index: int, x: Axis, *, steps: bool) -> list[go.Scatter]:
    turn = index // len(PALETTE)  # beyond six curves a colour comes with another dash
    colour, dash = PALETTE[index % len(PALETTE)], DASHES[(index + turn) % len(DASHES)]
    shared = {"legendgroup": str(index), "mode": "lines"}
    traces = []
    if curve.seeds > 1:
        edges = [
            np.repeat(edge, 2)[:-1] if steps else edge for edge in (curve.mean + curve.std, curve.mean - curve.std)
        ]
        over = np.repeat(curve.x, 2)[1:] if steps else curve.x
        band = go.Scatter(
            x=np.concatenate([over, over[::-1]]),
            y=np.concatenate([edges[0], edges[1][::-1]]),
            fill="toself",
            fillcolor=translucent(colour, 0.16),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            **shared,
        )
        traces.append(band)
    spread = [f" ± {std:.2g} ({curve.seeds} seeds)" if curve.seeds > 1 else "" for std in curve.std]
    line = go.Scatter(
        x=curve.x,
        y=curve.mean,
        name=as_label(name, 36),
        line={"color": colour, "dash": dash, "width": 2, "shape": "hv" if steps else "linear"},
        customdata=spread,
        hovertemplate=f"{as_hover(name)}<br>{x} %{{x:.4~g}}: %{{y:.4g}}%{{customdata}}<extra></extra>",
        **shared,
    )
    return [*traces, line]
