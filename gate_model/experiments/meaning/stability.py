"""Is learned λ the same in every seed, and does chemistry show in it? Files of `gate experiment stability`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gate_model.experiments.meaning import figures, words
from gate_model.experiments.meaning.labels import FEWEST
from gate_model.experiments.meaning.learned_lambda import LearnedLambda
from gate_model.experiments.meaning.pair_ranks import off_diagonal, without_levels
from gate_model.experiments.meaning.relations import relations
from gate_model.experiments.meaning.tables import as_facts, matrix_table, pairs_table, seeds_table, variance_table
from gate_model.runs import replacing, versions, write_csv, write_json

__all__ = ["write_stability"]


def write_stability(
    folder: Path,
    learned: Sequence[LearnedLambda],
    tasks: Sequence[str],
    labels: NDArray[np.float64],
    about: Mapping[str, Any],
    *,
    png: bool = False,
) -> None:
    """`stability.csv`, `variance.csv`, `lambda.csv`, `pairs.csv`, `findings.json`, `findings.md` and the figures.

    Args:
        folder: where to.
        learned: λ of every method, of at least two seeds and three tasks.
        tasks: names of rows and columns.
        labels: how closely the labels of two tasks go together `[T, T]`.
        about: the run, for `findings.json`.
        png: pictures as well.
    """
    found = {each.method: relations(each.scaled, tasks, labels) for each in learned}
    write_csv(folder / "stability.csv", seeds_table(found, {each.method: each.seeds for each in learned}))
    write_csv(folder / "variance.csv", variance_table(found))
    write_csv(folder / "pairs.csv", pairs_table(found, tasks, labels))
    ratios = [
        matrix_table(each.values, tasks, "lambda").assign(labels=labels[off_diagonal(len(tasks))]) for each in learned
    ]
    for each, frame in zip(learned, ratios, strict=True):
        frame.insert(0, "method", each.method)
    write_csv(folder / "lambda.csv", pd.concat(ratios, ignore_index=True))
    facts = {
        each.method: {"seeds": list(each.seeds), "failed": list(each.failed), "scale": each.scale, "zeros": each.zeros}
        | as_facts(found[each.method])
        for each in learned
    }
    write_json(folder / "findings.json", {**about, "methods": facts, "versions": versions()})
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
    with replacing(folder / "findings.md") as file:
        file.write(("\n".join(lines) + "\n").encode())
    for each in learned:
        figure = figures.mean_and_spread(each.values, tasks, f"λ of {each.method}")
        figures.write_figure(figure, folder / f"lambda-{each.method}", png=png)
        alone = np.nan_to_num([without_levels(matrix) for matrix in each.scaled])
        figure = figures.mean_and_spread(alone, tasks, f"{each.scale} of {each.method} without levels", signed=True)
        figures.write_figure(figure, folder / f"pairs-{each.method}", png=png)
    bars = figures.variance_bars({name: each.variance for name, each in found.items()})
    figures.write_figure(bars, folder / "variance", png=png)
