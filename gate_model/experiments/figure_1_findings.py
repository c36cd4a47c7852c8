"""The findings of Figure 1: where the best λ is, how much λ matters compared with chance, and how learned λ compares.

Chance is the difference between seeds, each of which has its own split, initial weights and batches. Let y[p, s] be the
RMSE at point p and seed s, for P points and S seeds. The two-way layout without replication,
y = level of s + effect of p + rest, gives two standard deviations: `noise` = √(mean square of the rest) and
`effect` = √(variance of the points' means − noise²/S), or 0 if that difference is negative.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["findings", "paragraph"]


def findings(points: pd.DataFrame, learned: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Return the findings as plain numbers, for JSON.

    Args:
        points: columns grid, seed, `names`, val_rmse and test_rmse (for each seed's winner only). Every seed of a grid
            must have the same points, and there must be at least two seeds.
        learned: columns method, seed, `names` and test_rmse.
        names: names of the λ.
    """
    grids = {str(grid): _grid(rows, names) for grid, rows in points.groupby("grid", sort=False)}
    return {
        "seeds": sorted(int(seed) for seed in points["seed"].unique()),
        "grids": grids,
        "learned": {
            str(method): _learned(rows, grids, names) for method, rows in learned.groupby("method", sort=False)
        },
    }


def paragraph(facts: Mapping[str, Any]) -> str:
    """Return the findings in words, as Markdown."""
    lines = [f"{len(facts['seeds'])} seeds, each with its own scaffold split; RMSE on standardised labels."]
    for name, grid in facts["grids"].items():
        at = ", ".join(f"{pair} {value:g}" for pair, value in grid["best"].items())
        rises = ", ".join(f"{pair} {rise['mean']:+.4f} ± {rise['std']:.4f}" for pair, rise in grid["rise"].items())
        lines.append(
            f"- Grid `{name}`: within one seed the worst point lies {grid['range_within_seed']:.4f} above the best. Of "
            f"that, {grid['effect']:.4f} is common to the seeds and {grid['noise']:.4f} is the seed's own (standard "
            f"deviations over the points); two seeds rank the points with a correlation of {grid['agreement']:+.2f}. "
            f"Mean over the seeds: best at {at}, {grid['best_rmse']:.4f}; worst point {grid['worst_rmse']:.4f}. Test "
            f"RMSE of the seeds' own winners: {grid['winner_test_mean']:.4f}. From the smallest to the largest value "
            f"of one λ, mean over the others: {rises}."
        )
    for name, method in facts["learned"].items():
        for grid, gap in method["against"].items():
            lines.append(
                f"- Learned λ, `{name}`, one training: test RMSE {method['test_mean']:.4f}; minus that of the winner "
                f"of grid `{grid}` {gap['mean']:+.4f} ± {gap['std']:.4f} over the seeds (better in {gap['better']} of "
                f"{len(facts['seeds'])})."
            )
    return "\n".join(lines)


def _grid(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    table = rows.pivot_table(index=list(names), columns="seed", values="val_rmse")
    y = table.to_numpy(dtype=np.float64)
    n_points, n_seeds = y.shape
    means, levels = y.mean(1), y.mean(0)
    rest = y - means[:, None] - levels + y.mean()
    noise = float(np.sqrt((rest**2).sum() / ((n_points - 1) * (n_seeds - 1))))
    effect = float(np.sqrt(max(means.var(ddof=1) - noise**2 / n_seeds, 0.0)))
    ranks = table.rank().corr().to_numpy()
    winners = rows.loc[rows.groupby("seed")["val_rmse"].idxmin()]
    deviation = rows["val_rmse"] - rows.groupby("seed")["val_rmse"].transform("mean")
    ends = {name: rows.groupby(["seed", name])["val_rmse"].mean().unstack() for name in names}
    rises = {name: table.iloc[:, -1] - table.iloc[:, 0] for name, table in ends.items()}
    return {
        "points": n_points,
        "best": dict(zip(names, map(float, table.index[means.argmin()]), strict=True)),
        "best_rmse": float(means.min()),
        "worst_rmse": float(means.max()),
        "range_within_seed": float(np.ptp(y, axis=0).mean()),
        "effect": effect,
        "noise": noise,
        "spread_of_levels": float(levels.std(ddof=1)),
        "agreement": float(np.mean([ranks[a, b] for a, b in combinations(range(n_seeds), 2)])),
        "profile": {
            name: {str(value): float(mean) for value, mean in deviation.groupby(rows[name]).mean().items()}
            for name in names
        },
        "rise": {name: {"mean": float(rise.mean()), "std": float(rise.std())} for name, rise in rises.items()},
        "winners": [{name: float(row[name]) for name in names} for _, row in winners.iterrows()],
        "winner_val": winners["val_rmse"].tolist(),
        "winner_test": winners["test_rmse"].tolist(),
        "winner_test_mean": float(winners["test_rmse"].mean()),
        "seconds_per_training": float(rows["seconds"].mean()),
    }


def _learned(rows: pd.DataFrame, grids: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    rows = rows.sort_values("seed")
    test = rows["test_rmse"].to_numpy(dtype=np.float64)
    against = {}
    for name, grid in grids.items():
        gap = test - np.array(grid["winner_test"])
        against[name] = {"mean": float(gap.mean()), "std": float(gap.std(ddof=1)), "better": int((gap < 0).sum())}
    return {
        "lambda": [{name: float(row[name]) for name in names} for _, row in rows.iterrows()],
        "val": rows["val_rmse"].tolist(),
        "test": test.tolist(),
        "test_mean": float(test.mean()),
        "against": against,
        "seconds_per_training": float(rows["seconds"].mean()),
    }
