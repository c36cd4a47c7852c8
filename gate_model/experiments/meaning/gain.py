"""Does learned λ agree with what a source is measured to be worth? Files of `gate experiment removal`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gate_model.experiments.meaning import figures, words
from gate_model.experiments.meaning.learned_lambda import LearnedLambda
from gate_model.experiments.meaning.pair_ranks import VIEWS, off_diagonal
from gate_model.experiments.meaning.relations import agreement, relations
from gate_model.experiments.meaning.removal import gains
from gate_model.experiments.meaning.tables import (
    agreement_facts,
    as_facts,
    matrix_table,
    pairs_table,
    seeds_table,
    variance_table,
)
from gate_model.runs import replacing, versions, write_csv, write_json

__all__ = ["write_gain"]

Array = NDArray[np.float64]


def write_gain(
    folder: Path,
    rmse: Array,
    seeds: Sequence[int],
    learned: Sequence[LearnedLambda],
    tasks: Sequence[str],
    labels: Array,
    about: Mapping[str, Any],
    *,
    png: bool = False,
) -> None:
    """`rmse.csv`, `gain.csv`, `agreement.csv`, `stability.csv`, `variance.csv`, `pairs.csv`, `findings.*`, the figures.

    Args:
        folder: where to.
        rmse: `[S, 1 + T, targets]`, with all sources and without each, as `train_removals` gives it; S ≥ 2.
        seeds: of `rmse`.
        learned: λ of every method.
        tasks: names of rows and columns.
        labels: how closely the labels of two tasks go together `[T, T]`.
        about: the run, for `findings.json`.
        png: pictures as well.
    """
    gain = gains(rmse[:, 0], rmse[:, 1:])
    off = off_diagonal(len(tasks))
    found = relations(gain, tasks, labels)
    agreed = {
        each.method: {
            view: agreement(
                each.scaled.mean(0),
                gain.mean(0),
                view,
                (relations(each.scaled, tasks, labels).reliability[view], found.reliability[view]),
            )
            for view in VIEWS
        }
        for each in learned
    }
    write_csv(folder / "rmse.csv", _rmse_table(rmse, seeds, tasks))
    measured = matrix_table(gain, tasks, "gain")
    write_csv(folder / "gain.csv", measured)
    write_csv(folder / "stability.csv", seeds_table({"gain": found}, {"gain": seeds}))
    write_csv(folder / "variance.csv", variance_table({"gain": found}))
    write_csv(folder / "pairs.csv", pairs_table({"gain": found}, tasks, labels))
    rows = [
        (name, view, each.rho, each.p, each.ceiling) for name, views in agreed.items() for view, each in views.items()
    ]
    write_csv(folder / "agreement.csv", pd.DataFrame(rows, columns=["method", "view", "rho", "p", "ceiling"]))
    helps, itself = gain[:, off], gain[:, ~off]
    facts = {
        "seeds": list(seeds),
        "gain": {
            "mean": float(helps.mean()),
            "std_over_seeds": float(helps.mean(1).std(ddof=1)),
            "helped": float((gain.mean(0)[off] > 0).mean()),
            "spread": float(helps.std(1, ddof=1).mean()),
            "spread_on_itself": float(itself.std(1, ddof=1).mean()),
        }
        | as_facts(found),
        "agreement": {
            name: {view: agreement_facts(each) for view, each in views.items()} for name, views in agreed.items()
        },
    }
    write_json(folder / "findings.json", {**about, **facts, "versions": versions()})
    numbers = facts["gain"]
    ceiling = found.reliability["pairs alone"]
    lines = [
        f"{len(seeds)} seeds, {len(tasks)} tasks; gain = log RMSE without the source − with it, at λ = 1, on selection "
        "molecules. p by renaming the tasks at random, one-sided; of single pairs by the F test.",
        f"- What a source is worth: {words.number(100 * numbers['mean'])} % ± {100 * numbers['std_over_seeds']:.2f} on "
        f"average (± over seeds); the mean over the seeds is above 0 for {numbers['helped']:.0%} of the pairs. Within a "
        f"seed the gains spread by {100 * numbers['spread']:.2f} %. What a task seems to gain from itself as a source, "
        f"which it never is, spreads by {100 * numbers['spread_on_itself']:.2f} %: that much comes by detours and by "
        "chance.",
        f"- The measurement itself: {words.seeds_words(found)} {words.pair_words(found, len(seeds), 'the gain')}"
        + (" **The gain of single pairs is noise: nothing can be expected to agree with it.**" if not ceiling else ""),
        f"- Chemistry in the gain: {words.chemistry_words(found)} {words.labels_words(found)}",
        *(f"- `{name}`: {words.agreement_words(views)}" for name, views in agreed.items()),
    ]
    with replacing(folder / "findings.md") as file:
        file.write(("\n".join(lines) + "\n").encode())
    figures.write_figure(
        figures.mean_and_spread(gain, tasks, "gain of a source", signed=True), folder / "gain", png=png
    )
    for each in learned:
        table = matrix_table(each.values, tasks, "lambda").drop(columns="lambda_std").assign(gain=measured["gain"])
        one = agreed[each.method]["all pairs"]
        text = f"Spearman ρ = {words.number(one.rho)} (p {one.p:.2g}); noise allows at most {one.ceiling:.2f}"
        figures.write_figure(figures.gain_scatter(table, each.method, text), folder / f"gain-{each.method}", png=png)


def _rmse_table(rmse: Array, seeds: Sequence[int], tasks: Sequence[str]) -> pd.DataFrame:
    """Columns seed, removed (empty: none), target, val_rmse."""
    rows = [
        (seed, removed, target, rmse[i, j, k])
        for i, seed in enumerate(seeds)
        for j, removed in enumerate(["", *tasks])
        for k, target in enumerate(tasks)
    ]
    return pd.DataFrame(rows, columns=["seed", "removed", "target", "val_rmse"])
