"""Figure 3: validation RMSE over the epochs, the epoch at which each λ reaches the final RMSE of GATE, and the spread.

The curves are on the selection molecules. Of the paper's validation molecules 20 % are exchanged for train molecules
after every epoch, so a network has been trained on most molecules on which it is validated. Every seed has its own
split, and some splits are harder. The level of a seed is the mean of its curves over all methods and epochs; curves of
different seeds can be compared after they are divided by it.
"""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from bilevel_hpo.plots import convergence, convergence_facts
from paper_studies.analysis import Analysis
from paper_studies.repeated.compared import NAMES, Compared, compared

__all__ = ["figure_3"]

_BASES = ("lambda=1-plain", "lambda=1-sum")
_LEARNED = ("direct", "direct-sum", "budget")
_TARGET = 0.6
"""The project's goal: the learned λ needs at most this share of the epochs."""


def figure_3(folder: Path) -> Analysis:
    """Return Figure 3 for the benchmark in `folder`.

    Raises:
        RunError: the folder is no benchmark, or lacks a method.
    """
    run = compared(folder)
    curves = {method: run.curves(method) for method in run.results}
    level = np.mean([curve.mean(1) for curve in curves.values()], axis=0)
    history = pd.concat([_history(run, method, curve, level) for method, curve in curves.items()], ignore_index=True)
    reached, spread = epochs_to_reach(run), spreads(run, level)
    # The literal sums are in the tables: more than five bands cannot be told apart.
    drawn = history[~history["method"].str.endswith("-sum")]
    shown = drawn.assign(val=drawn["rmse_level"], method=drawn["method"].map(NAMES))
    figure = convergence(shown, label="RMSE, selection molecules; seeds set to the same level")
    facts = convergence_facts(history.assign(val=history["rmse_level"]))
    raw = convergence_facts(history.assign(val=history["rmse"])).to_frame()
    table = facts.to_frame().drop(columns="kind").assign(raw_mean=raw["mean"], raw_std=raw["std"])
    return Analysis(
        {"figure_3": table, "curves": history, "epochs_to_reach": reached, "spread": spread},
        {"figure_3": figure},
        f"{run.about}\n\n{_words(run, reached, spread)}",
    )


def epochs_to_reach(run: Compared) -> pd.DataFrame:
    """Return the epoch at which each method first reaches the final RMSE of `lambda=1-plain`, or of `lambda=1-sum`.

    Columns: base, method, seed, goal (final RMSE of the base for this seed), epoch (NaN if never), share (epoch as a
    share of all epochs).
    """
    rows = []
    for base in (name for name in _BASES if name in run.results):
        for method in run.results:
            for seed, curve, goal in zip(run.seeds, run.curves(method), run.curves(base)[:, -1], strict=True):
                there = np.flatnonzero(curve <= goal)
                epoch = float(there[0] + 1) if len(there) else np.nan
                rows.append((base, method, seed, goal, epoch, epoch / len(curve)))
    return pd.DataFrame(rows, columns=["base", "method", "seed", "goal", "epoch", "share"])


def spreads(run: Compared, level: NDArray[np.float64]) -> pd.DataFrame:
    """Return the width of the band of each method.

    Columns: method; raw_end (std over seeds after the last epoch); end and mean (std over seeds of RMSE / level, after
    the last epoch and as a mean over all epochs); over_tasks (std over tasks at the end, mean over seeds; by the
    paper's text this is the shade in its figure). A std over one seed, or one task, is NaN.

    Args:
        run: the curves.
        level: the level of each seed `[seeds]`.
    """
    rows = []
    for method in run.results:
        curve, tasks = run.curves(method), run.validation(method)
        relative = curve / level[:, None]
        over_seeds = relative.std(0, ddof=1) if len(curve) > 1 else np.full(curve.shape[1], np.nan)
        raw = curve[:, -1].std(ddof=1) if len(curve) > 1 else np.nan
        over_tasks = tasks.std(1, ddof=1).mean() if tasks.shape[1] > 1 else np.nan
        rows.append((method, raw, over_seeds[-1], over_seeds.mean(), over_tasks))
    return pd.DataFrame(rows, columns=["method", "raw_end", "end", "mean", "over_tasks"])


def _history(run: Compared, method: str, curve: NDArray[np.float64], level: NDArray[np.float64]) -> pd.DataFrame:
    """method, seed, epoch, rmse, and rmse_level: as if every seed had the mean level."""
    n_seeds, n_epochs = curve.shape
    return pd.DataFrame(
        {
            "method": method,
            "seed": np.repeat(run.seeds, n_epochs),
            "epoch": np.tile(np.arange(1, n_epochs + 1), n_seeds),
            "rmse": curve.ravel(),
            "rmse_level": (curve / level[:, None] * level.mean()).ravel(),
        }
    )


def _words(run: Compared, reached: pd.DataFrame, spread: pd.DataFrame) -> str:
    n_seeds = len(run.seeds)
    lines = [
        "- The paper gives no numbers for Figure 3; it says that validation loss falls much faster with a learned λ, "
        "and that the band is narrower (over the tasks, by its text). Here: RMSE on selection molecules, which are "
        "never exchanged with train molecules, as the validation molecules are."
    ]
    for base, rows in reached.groupby("base", sort=False):
        lines.append(
            f"- First epoch as good as `{base}` is at the end, as a share of all epochs, mean ± std over seeds: "
            + "; ".join(_reached(method, own) for method, own in rows.groupby("method", sort=False))
            + f". (`{base}` itself shows what the ups and downs of a curve alone do.)"
        )
        share = rows.groupby("method")["share"]
        met = share.mean().le(_TARGET) & share.count().eq(n_seeds)
        lines.append(
            f"- Goal (at most {100 * _TARGET:.0f} % of the epochs of `{base}`, and reached in every seed): "
            + ", ".join(f"`{method}` {'met' if met[method] else 'not met'}" for method in _LEARNED if method in met)
            + "."
        )
    if n_seeds > 1:
        chance = float(np.sqrt(stats.f.ppf(0.975, n_seeds - 1, n_seeds - 1)))
        lines.append(
            "- Narrower over the seeds? Std of RMSE, each seed's divided by its own level, after the last epoch (mean "
            "over all epochs): "
            + _listed(spread, lambda row: f"{100 * row['end']:.2f} % ({100 * row['mean']:.2f} %)")
            + f". By chance two std of {n_seeds} independent values differ by a factor of up to {chance:.1f} (95 %)."
        )
    if len(run.tasks) > 1:
        lines.append(
            "- Narrower over the tasks? Std over tasks at the end, mean over seeds: "
            + _listed(spread, lambda row: f"{row['over_tasks']:.4f}")
            + "."
        )
    return "\n".join(lines)


def _listed(spread: pd.DataFrame, told: Callable[[dict[Hashable, Any]], str]) -> str:
    return ", ".join(f"`{row['method']}` {told(row)}" for row in spread.to_dict("records"))


def _reached(method: object, rows: pd.DataFrame) -> str:
    share = 100 * rows["share"].dropna()
    if share.empty:
        return f"`{method}` never"
    told = f"`{method}` {share.mean():.0f} %" + (f" ± {share.std():.0f} %" if len(share) > 1 else "")
    return told + (f" in {len(share)} of {len(rows)} seeds, never in the others" if len(share) < len(rows) else "")
