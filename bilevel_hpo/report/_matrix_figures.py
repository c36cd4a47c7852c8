"""λ as a matrix: heat maps of λ, its spread over seeds and its asymmetry, and a graph of who teaches whom."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bilevel_hpo import plots
from bilevel_hpo.report._facts import MethodFacts
from bilevel_hpo.report._lambda import LambdaFacts
from bilevel_hpo.report._lambda_words import strongest
from bilevel_hpo.report._parts import PageFigure

__all__ = ["CROWDED", "matrix_figures", "one_map", "transfers"]

CROWDED = 12
"""Tasks above which figures of pairs take the whole width."""
_MOST_ARROWS = 60


def matrix_figures(method: MethodFacts, lambda_: LambdaFacts, id_: str) -> Iterator[PageFigure]:
    """Draws λ, its spread over the seeds, and its asymmetry, all three in the same clustered order."""
    S = len(lambda_.values)
    order = "cluster" if lambda_.square and len(lambda_.targets) > 2 else "given"
    after = " Tasks that teach and learn alike stand together." if order == "cluster" else ""
    over = f" Mean over {S} seeds." if S > 1 else ""
    caption = f"Row: target, column: source. Largest: {strongest(lambda_, 3)}.{over}{after}"
    yield _map(lambda_, f"heatmap-{id_}", "λ", caption, order=order)
    if S > 1:
        caption = f"Standard deviation of λ over {S} seeds, tasks in the same order."
        yield _map(lambda_, "heatmap-std", "Spread over the seeds", caption, order=order, show="std")
    if method.group == "learned" and lambda_.square:
        caption = "λ from the column to the row minus λ from the row to the column: which of the two teaches more."
        yield _map(lambda_, "heatmap-asymmetry", "Asymmetry", caption, order=order, show="asymmetry")


def one_map(method: MethodFacts, lambda_: LambdaFacts, id_: str, high: float) -> PageFigure:
    """Draws the mean λ of a method, on a scale that ends at `high`."""
    over = f" Mean over {len(lambda_.values)} seeds." if len(lambda_.values) > 1 else ""
    caption = f"Largest: {strongest(lambda_, 3)}.{over}"
    return _map(lambda_, f"heatmap-{id_}", method.title, caption, high=high)


def transfers(lambda_: LambdaFacts) -> Iterator[PageFigure]:
    """Draws the directed graph of the strongest λ."""
    T = len(lambda_.targets)
    if T < 3 or not lambda_.square:
        return
    mean, std = lambda_.mean_frame(), lambda_.std_frame()
    top = min(2 * T, T * (T - 1), _MOST_ARROWS)
    yield PageFigure(
        "transfer-graph",
        "Who teaches whom",
        "Wide and dark arrows are large λ; hover a task for what it learns and teaches in all.",
        plots.transfer_graph(mean, std, top=top),
        plots.transfer_graph_facts(mean, std, top=top).to_frame(),
        height=460 if T <= CROWDED else 680,
        min_width=0 if T <= CROWDED else 560,
    )


def _map(lambda_: LambdaFacts, id_: str, title: str, caption: str, **style: Any) -> PageFigure:
    T, U = len(lambda_.targets), len(lambda_.sources)
    mean, std = lambda_.mean_frame(), lambda_.std_frame()
    return PageFigure(
        id_,
        title,
        caption,
        plots.ratio_heatmap(mean, std, diagonal=False, **style),
        plots.ratio_heatmap_facts(mean, std, diagonal=False, **style).to_frame(),
        height=max(320, 170 + 18 * T),
        min_width=0 if np.max([T, U]) <= CROWDED else 330 + 15 * U,
    )
