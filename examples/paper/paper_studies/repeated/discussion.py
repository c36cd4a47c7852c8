"""The Discussion's claim that 95 % of the quadratic variations of λ are below 0.1: is it true, and what does it mean?

The paper gives no formula. Here the quadratic variation of a pair is Σ_e (λ_{e+1} − λ_e)² over the epochs, with λ in
units of the direct path. By the Cauchy-Schwarz inequality it is at least (λ_n − λ_0)² / n after n epochs. A λ that
moves at an even speed has exactly this value: 1/n from 1 to 0, whatever the data say.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from bilevel_hpo.plots import TEMPLATE
from bilevel_hpo.run_folder import RunError
from paper_studies.analysis import Analysis
from paper_studies.repeated.compared import COLOURS, NAMES, PAPER_COLOUR, Compared, compared

__all__ = ["discussion"]

_BOUND = 0.1
_PAPER_EPOCHS = 250
_TOP = 0.05
_QUANTILES = (0.5, 0.95, 0.99)


def discussion(folder: Path) -> Analysis:
    """Return the analysis of the benchmark in `folder`.

    Raises:
        RunError: the folder is no benchmark, has no learned λ, or lacks λ after every epoch.
    """
    run = compared(folder, ["direct", "direct-sum", "budget", "free"], [], any_of=True)
    if len(run.tasks) < 2:
        raise RunError(f"{folder} has the task {run.tasks[0]} only; λ is between two tasks or more")
    pairs = movements(run)
    table = summary(pairs)
    return Analysis(
        {"discussion": table, "pairs": pairs},
        {"discussion": _figure(pairs, _epochs(run))},
        f"{run.about}\n\n{_words(table, _epochs(run))}",
    )


def movements(run: Compared) -> pd.DataFrame:
    """Return one row for each method, seed and pair of tasks.

    Columns: method, seed, target, source; start and end (λ before the first and after the last epoch);
    quadratic_variation; distance (Σ_e |λ_{e+1} − λ_e|); even (the smallest quadratic variation for this start and end).
    """
    off = ~np.eye(len(run.tasks), dtype=bool)
    target, source = np.nonzero(off)
    frames = []
    for method in run.results:
        for seed, path in zip(run.seeds, _paths(run, method), strict=True):
            lambda_ = path[:, off]
            steps = np.diff(lambda_, axis=0)
            columns = {
                "method": method,
                "seed": seed,
                "target": np.array(run.tasks)[target],
                "source": np.array(run.tasks)[source],
                "start": lambda_[0],
                "end": lambda_[-1],
                "quadratic_variation": (steps**2).sum(0),
                "distance": np.abs(steps).sum(0),
                "even": (lambda_[-1] - lambda_[0]) ** 2 / len(steps),
            }
            frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def summary(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each method and seed.

    Columns: method, seed, pairs; under (share of quadratic variations below 0.1); q50, q95, q99 and max of the
    quadratic variations; even (their sum if all λ moved at an even speed, as a share of the sum); start and end (mean
    λ); top (share of the whole distance that the 5 % of pairs with the longest distance, rounded up, have); alike (this
    share if all pairs had the same distance).
    """
    rows = []
    for (method, seed), own in pairs.groupby(["method", "seed"], sort=False):
        variation, distance = own["quadratic_variation"], np.sort(own["distance"])[::-1]
        row = {"method": method, "seed": seed, "pairs": len(own), "under": (variation < _BOUND).mean()}
        row |= {f"q{100 * q:.0f}": variation.quantile(q) for q in _QUANTILES} | {"max": variation.max()}
        row |= {"even": own["even"].sum() / variation.sum() if variation.sum() else np.nan}
        row |= {"start": own["start"].mean(), "end": own["end"].mean()}
        longest = int(np.ceil(_TOP * len(own)))
        row |= {"top": distance[:longest].sum() / distance.sum() if distance.sum() else np.nan}
        rows.append(row | {"alike": longest / len(own)})
    return pd.DataFrame(rows)


def _paths(run: Compared, method: str) -> Sequence[NDArray[np.float64]]:
    """Return λ `[epochs + 1, T, T]` of each seed."""
    return [result.trajectory for result in run.results[method]]


def _epochs(run: Compared) -> int:
    return len(next(iter(run.results.values()))[0].trajectory) - 1


def _words(table: pd.DataFrame, n_epochs: int) -> str:
    lines = [
        "- The paper: 95 % of the quadratic variations of λ are under 0.1, so that most pairs could be left out of the "
        "outer loop. It gives no formula; here it is the sum over epochs of (change of λ)² for each pair, λ in units "
        "of the direct path. Mean ± std over seeds:"
    ]
    for method, rows in table.groupby("method", sort=False):
        lines.append(
            f"- `{method}`: {_share(rows['under'])} under 0.1; median {rows['q50'].mean():.2g}, 95 % quantile "
            f"{rows['q95'].mean():.2g}, 99 % {rows['q99'].mean():.2g}, largest {rows['max'].max():.2g}. λ goes from "
            f"{rows['start'].mean():.2f} to {rows['end'].mean():.2f} in the mean over pairs. At an even speed from its "
            f"start to its end all λ together would have {_share(rows['even'])} of the sum already. The 5 % of pairs "
            f"that move most hold {_share(rows['top'])} of the whole distance "
            f"({100 * rows['alike'].mean():.1f} % if all moved alike)."
        )
    lines.append(
        f"- What the claim says: a λ that falls from 1 to 0 in {n_epochs} even steps has 1/{n_epochs} = "
        f"{1 / n_epochs:.3f} whatever the data, in the paper's {_PAPER_EPOCHS} epochs {1 / _PAPER_EPOCHS:.3f}; and one "
        "that only falls stays under 0.1 as long as no epoch takes it further than 0.1. Small steps make a small "
        "quadratic variation, also of a λ that goes all the way: the number depends on learning rate and epochs, and "
        "does not tell which pairs matter."
    )
    return "\n".join(lines)


def _share(values: "pd.Series[float]") -> str:
    spread = f" ± {100 * values.std():.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread} %"


def _figure(pairs: pd.DataFrame, n_epochs: int) -> go.Figure:
    """Draw the share of pairs, over all seeds, whose quadratic variation is at most x."""
    figure = go.Figure(layout={"template": TEMPLATE})
    for method, rows in pairs.groupby("method", sort=False):
        x = np.sort(rows["quadratic_variation"])
        figure.add_scatter(
            x=x,
            y=100 * np.arange(1, len(x) + 1) / len(x),
            mode="lines",
            line={"color": COLOURS[str(method)], "shape": "hv"},
            name=NAMES[str(method)],
        )
    for at, text, dash in (
        (_BOUND, "the paper's 0.1", "dash"),
        (1 / n_epochs, f"1 to 0 in {n_epochs} even steps", "dot"),
    ):
        figure.add_scatter(x=[at, at], y=[0, 100], mode="lines", line={"color": PAPER_COLOUR, "dash": dash}, name=text)
    figure.update_xaxes(type="log", title_text="quadratic variation of λ over the training")
    figure.update_yaxes(title_text="pairs at most there, %", range=[0, 101])
    return figure
