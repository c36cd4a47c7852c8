"""Is learned λ the same in every seed, and does it agree with chemistry?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paper_studies.analysis import Analysis
from paper_studies.meaning import figures, words
from paper_studies.meaning.labels import FEWEST
from paper_studies.meaning.learned_lambda import LearnedLambda
from paper_studies.meaning.pair_ranks import off_diagonal, without_levels
from paper_studies.meaning.relations import relations
from paper_studies.meaning.tables import as_facts, matrix_table, pairs_table, seeds_table, variance_table

__all__ = ["stability_analysis"]


def stability_analysis(
    learned: Sequence[LearnedLambda], tasks: Sequence[str], labels: NDArray[np.float64], about: Mapping[str, Any]
) -> Analysis:
    """Return the tables stability, variance, lambda and pairs, two figures for each method, and the figure variance.

    Args:
        learned: the learned λ of every method, for at least two seeds and three tasks.
        tasks: names of rows and columns.
        labels: correlation between the labels of two tasks `[T, T]`, from `label_correlations`.
        about: facts about the run, for findings.json.
    """
    found = {each.method: relations(each.scaled, tasks, labels) for each in learned}
    ratios = [
        matrix_table(each.values, tasks, "lambda").assign(labels=labels[off_diagonal(len(tasks))]) for each in learned
    ]
    for each, frame in zip(learned, ratios, strict=True):
        frame.insert(0, "method", each.method)
    tables = {
        "stability": seeds_table(found, {each.method: each.seeds for each in learned}),
        "variance": variance_table(found),
        "pairs": pairs_table(found, tasks, labels),
        "lambda": pd.concat(ratios, ignore_index=True),
    }
    facts = {
        each.method: {"seeds": list(each.seeds), "failed": list(each.failed), "scale": each.scale, "zeros": each.zeros}
        | as_facts(found[each.method])
        for each in learned
    }
    few = int((labels[off_diagonal(len(tasks))] == 0).sum()) // 2
    lines = [
        f"Learned λ of {len(tasks)} tasks. {words.CHANCE} Two tasks that share fewer than {FEWEST} train molecules "
        f"count as unrelated labels ({few} pairs).",
        "",
        *words.relation_lines(
            {f"`{each.method}`, {each.scale}": found[each.method] for each in learned},
            {f"`{each.method}`, {each.scale}": len(each.seeds) for each in learned},
        ),
        "",
    ]
    for each in learned:
        one = found[each.method]
        failed = (
            f" Left out, since the training failed: seed {', '.join(map(str, each.failed))}." if each.failed else ""
        )
        if each.zeros:
            said = [words.bound_words(one, each.zeros)]
        else:
            said = [words.pair_words(one, len(each.seeds)), words.chemistry_words(one)]
        lines.append(f"- `{each.method}`: {' '.join(said)} {words.labels_words(one, each.telling)}{failed}")
    drawn = {"variance": figures.variance_bars({name: each.variance for name, each in found.items()})}
    for each in learned:
        drawn[f"lambda-{each.method}"] = figures.mean_and_spread(each.values, tasks, f"λ of {each.method}")
        alone = np.nan_to_num([without_levels(matrix) for matrix in each.scaled])
        what = f"{each.scale} of {each.method} without levels"
        drawn[f"pairs-{each.method}"] = figures.mean_and_spread(alone, tasks, what, signed=True)
    return Analysis(tables, drawn, "\n".join(lines), {**about, "methods": facts})
