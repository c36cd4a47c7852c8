"""The figures of λ: the choice of each method, and the path of learned λ."""

from collections.abc import Iterator

import pandas as pd

from bilevel_hpo import plots
from bilevel_hpo.report._facts import MethodFacts, ReportFacts
from bilevel_hpo.report._lambda_words import chose
from bilevel_hpo.report._matrix_figures import matrix_figures, one_map, transfers
from bilevel_hpo.report._parts import PageFigure
from bilevel_hpo.report._vector_figures import vector_figures

__all__ = ["histories", "lambda_figures", "other_lambda", "trajectory"]

_LINES = 12
"""λ that `plots.trajectory` draws as lines."""


def lambda_figures(facts: ReportFacts, method: MethodFacts) -> Iterator[PageFigure]:
    """Draws λ of one method."""
    lambda_ = method.lambda_
    if lambda_ is None or not chose(facts, method):
        return
    if lambda_.matrix is None:
        yield from vector_figures(facts, method, lambda_, facts.id_of(method))
    else:
        yield from matrix_figures(method, lambda_, facts.id_of(method))
        yield from transfers(lambda_)


def other_lambda(facts: ReportFacts, without: MethodFacts) -> Iterator[PageFigure]:
    """Draws λ of the other methods that chose it, with all matrices on one scale."""
    others = [(method, method.lambda_) for method in facts.methods if method is not without and chose(facts, method)]
    high = max((float(found.mean.max()) for _, found in others if found and found.matrix is not None), default=0.0)
    for method, found in others:
        if found is not None and found.matrix is not None:
            yield one_map(method, found, facts.id_of(method), high)
        elif found is not None:
            for figure in vector_figures(facts, method, found, facts.id_of(method)):
                yield PageFigure(**vars(figure) | {"title": f"{method.title}: {figure.title}"})


def trajectory(facts: ReportFacts, method: MethodFacts, title: str) -> Iterator[PageFigure]:
    """Draws λ of a learned method over the epochs, as the mean over the seeds; nothing for another method."""
    rows = histories(facts, method)
    if method.group != "learned" or rows.empty:
        return
    wide = rows.pivot_table(index="epoch", columns="name", values="lambda", sort=False)
    over = f", mean over {len(method.seeds)} seeds" if len(method.seeds) > 1 else ""
    matrix = method.lambda_ is not None and method.lambda_.matrix is not None
    scale = f" {facts.lambda_note}" if facts.lambda_note else ""
    caption = f"λ{' from source → target' if matrix else ''}{scale}{over}; epoch 0 is the start."
    if wide.shape[1] > _LINES:
        caption += f" Too many for lines: median and quantiles of the {wide.shape[1]} λ."
    yield PageFigure(
        f"trajectory-{facts.id_of(method)}",
        title,
        caption,
        plots.trajectory(wide),
        plots.trajectory_facts(wide).to_frame(),
        360,
    )


def histories(facts: ReportFacts, method: MethodFacts) -> pd.DataFrame:
    """Returns seed, epoch, name ("source → target" for a matrix), lambda of a method; empty without a history."""
    matrix, vector = facts.files.ratios_history, facts.files.weights_history
    if matrix is not None and (rows := matrix[matrix["method"] == method.name]).size:
        rows = rows[rows["source"] != rows["target"]]
        rows = rows.assign(name=rows["source"] + " → " + rows["target"])
    elif vector is not None:
        rows = vector[vector["method"] == method.name].rename(columns={"label": "name"})
    else:
        rows = pd.DataFrame(columns=["seed", "epoch", "name", "lambda"])
    return rows[["seed", "epoch", "name", "lambda"]]
