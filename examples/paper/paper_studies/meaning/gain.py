"""Does learned λ agree with the measured gain of a source?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paper_studies.analysis import Analysis
from paper_studies.meaning import figures, words
from paper_studies.meaning.learned_lambda import LearnedLambda
from paper_studies.meaning.pair_ranks import VIEWS, View, between_seeds, off_diagonal, reliability
from paper_studies.meaning.relations import agreement, relations
from paper_studies.meaning.removal import gains
from paper_studies.meaning.tables import (
    agreement_facts,
    as_facts,
    matrix_table,
    pairs_table,
    seeds_table,
    variance_table,
)

__all__ = ["gain_analysis"]

Array = NDArray[np.float64]


def gain_analysis(
    rmse: Array,
    seeds: Sequence[int],
    learned: Sequence[LearnedLambda],
    tasks: Sequence[str],
    labels: Array,
    about: Mapping[str, Any],
) -> Analysis:
    """Return the tables rmse, gain, agreement, stability, variance and pairs, and the figures of the gain.

    Args:
        rmse: RMSE `[S, 1 + T, targets]` with all sources and without each, from `train_removals`; S is at least 2.
        seeds: the S seeds.
        learned: the learned λ of every method.
        tasks: names of rows and columns.
        labels: correlation between the labels of two tasks `[T, T]`, from `label_correlations`.
        about: facts about the run, for findings.json.
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
                (_reliability(each.scaled, view), found.reliability[view]),
            )
            for view in VIEWS
        }
        for each in learned
    }
    measured = matrix_table(gain, tasks, "gain")
    rows = [
        (name, view, each.rho, each.p, each.ceiling) for name, views in agreed.items() for view, each in views.items()
    ]
    tables = {
        "rmse": _rmse_table(rmse, seeds, tasks),
        "gain": measured,
        "stability": seeds_table({"gain": found}, {"gain": seeds}),
        "variance": variance_table({"gain": found}),
        "pairs": pairs_table({"gain": found}, tasks, labels),
        "agreement": pd.DataFrame(rows, columns=["method", "view", "rho", "p", "ceiling"]),
    }
    helps, itself = gain[:, off], gain[:, ~off]
    sizes = {
        "mean": float(helps.mean()),
        "std_over_seeds": float(helps.mean(1).std(ddof=1)),
        "helped": float((gain.mean(0)[off] > 0).mean()),
        "spread": float(helps.std(1, ddof=1).mean()),
        "spread_on_itself": float(itself.std(1, ddof=1).mean()),
    }
    agreement_of = {
        name: {view: agreement_facts(each) for view, each in views.items()} for name, views in agreed.items()
    }
    facts = {"seeds": list(seeds), "gain": sizes | as_facts(found), "agreement": agreement_of}
    percent = {name: 100 * size for name, size in sizes.items()}
    lines = [
        f"Measured gain of a source, {len(seeds)} seeds, {len(tasks)} tasks: log RMSE without it − with it, at λ = 1, "
        f"on selection molecules. {words.CHANCE}",
        "",
        f"- A source is worth {words.number(percent['mean'])} % ± {percent['std_over_seeds']:.2f} on average (± over "
        f"seeds); the mean over the seeds is above 0 for {percent['helped']:.0f} % of the pairs.",
        f"- Within a seed the gains spread by {percent['spread']:.2f} %. What a task seems to gain from itself as a "
        f"source, which it never is, spreads by {percent['spread_on_itself']:.2f} %: that much comes by detours and by "
        "chance.",
        f"- {words.pair_words(found, len(seeds))} {words.chemistry_words(found)} "
        f"{words.labels_words(found, 'pairs alone')}",
        "",
        *words.relation_lines({"gain": found}, {"gain": len(seeds)}),
        "",
        *words.agreement_lines(agreed, {each.method: each.telling for each in learned}),
    ]
    drawn = {"gain": figures.mean_and_spread(gain, tasks, "gain of a source", signed=True)}
    for each in learned:
        table = matrix_table(each.values, tasks, "lambda").drop(columns="lambda_std").assign(gain=measured["gain"])
        one = agreed[each.method]["all pairs"]
        text = f"Spearman ρ = {words.number(one.rho)} ({words.p_text(one.p)}); noise allows at most {one.ceiling:.2f}"
        drawn[f"gain-{each.method}"] = figures.gain_scatter(table, each.method, text)
    return Analysis(tables, drawn, "\n".join(lines), {**about, **facts})


def _reliability(y: Array, view: View) -> float:
    return reliability([rho for _, _, rho in between_seeds(y, view)], len(y))


def _rmse_table(rmse: Array, seeds: Sequence[int], tasks: Sequence[str]) -> pd.DataFrame:
    """Return a table with the columns seed, removed (empty if no source is removed), target and val_rmse."""
    rows = [
        (seed, removed, target, rmse[i, j, k])
        for i, seed in enumerate(seeds)
        for j, removed in enumerate(["", *tasks])
        for k, target in enumerate(tasks)
    ]
    return pd.DataFrame(rows, columns=["seed", "removed", "target", "val_rmse"])
