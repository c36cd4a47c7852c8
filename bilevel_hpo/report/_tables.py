"""The tables of the page: score and cost of each method, and the scores task by task."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bilevel_hpo.report._facts import MethodFacts, ReportFacts
from bilevel_hpo.report._parts import Cell, Column, PageTable
from bilevel_hpo.report._words import label, plus_minus, scored, seconds

__all__ = ["methods_table", "spread_words", "task_table"]


def spread_words(facts: ReportFacts) -> str:
    """Explains ±; empty if every method has one seed."""
    several = any(len(method.seeds) > 1 for method in facts.methods)
    return " ± standard deviation over seeds" if several else ""


def methods_table(facts: ReportFacts) -> PageTable:
    """Returns a table with one line per method, in the order of the record."""
    many = len(facts.methods) > 1
    references = _references(facts) if many else []
    columns = [Column("method"), Column(f"test {facts.metric.name}", number=True)]
    columns += [
        Column(f"{'ratio' if facts.scale == 'ratio' else 'difference'} to {label(other.name)}", number=True)
        for other in references
    ]
    wins = many and facts.control is not None and len(facts.tasks) > 1
    if wins and facts.control is not None:
        columns.append(Column(f"tasks better than {label(facts.control.name)}", number=True))
    columns += [Column("trainings", number=True), Column("time", number=True)]
    rows = []
    for method in facts.methods:
        best = many and method is facts.best
        tag = f"{method.group}, {facts.metric.best}" if best else method.group
        row: list[Cell | str] = [Cell(method.title, best=best, tag=tag)]
        row.append(Cell(scored(facts, method) if method.seeds else "failed", best=best))
        row += [_compared(facts, method, other) for other in references]
        if wins:
            row.append(_wins(facts, method))
        rows.append((*row, str(method.training_runs), seconds(method.wall_s)))
    return PageTable(_caption(facts, references), tuple(columns), tuple(rows), wide=True)


def task_table(
    caption: str,
    methods: Sequence[str],
    tasks: Sequence[tuple[str, str]],
    scores: Sequence[NDArray[np.float64]],
    digits: str,
    *,
    higher_is_better: bool,
) -> PageTable:
    """Returns a table with one line per task and one cell per method; the best mean of each task is marked.

    Args:
        caption: the text above the table.
        methods: the labels of the methods.
        tasks: name and unit of each task; without any unit there is no column of units.
        scores: the scores `[S, T]` of each method.
        digits: the format of a score, as in `plus_minus`.
        higher_is_better: whether the highest mean is marked.
    """
    units = any(unit for _, unit in tasks)
    head = [Column("task"), *([Column("unit")] if units else []), *(Column(name, number=True) for name in methods)]
    rows: list[tuple[Cell | str, ...]] = []
    for column, (task, unit) in enumerate(tasks):
        cells = list(_cells([values[:, column] for values in scores], digits, higher_is_better=higher_is_better))
        rows.append((task, *([unit] if units else []), *cells))
    return PageTable(caption, tuple(head), tuple(rows))


def _cells(columns: Sequence[NDArray[np.float64]], digits: str, *, higher_is_better: bool) -> Iterator[Cell]:
    known = [values[np.isfinite(values)] for values in columns]
    means = [float(values.mean()) if len(values) else np.nan for values in known]
    losses = np.array([-mean if higher_is_better else mean for mean in means])
    best = int(np.nanargmin(losses)) if len(means) > 1 and not np.isnan(losses).all() else -1
    for index, (mean, values) in enumerate(zip(means, known, strict=True)):
        spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        yield Cell(plus_minus(mean, spread, digits), best=index == best)


def _references(facts: ReportFacts) -> list[MethodFacts]:
    found = [facts.method("lambda=1"), facts.control]
    return list(dict.fromkeys(method for method in found if method is not None))


def _compared(facts: ReportFacts, method: MethodFacts, other: MethodFacts) -> str:
    if other is method:
        return "1" if facts.scale == "ratio" else "0"
    found = facts.difference(method, other)
    if found is None:
        return "–"
    if found.scale == "ratio":
        return plus_minus(found.ratio, found.ratio_std, ".3f")
    spread = float(found.by_seed.std(ddof=1)) if found.seeds > 1 else np.nan
    return plus_minus(found.difference, spread, f"+{facts.digits}").replace("± +", "± ").replace("-", "−")


def _wins(facts: ReportFacts, method: MethodFacts) -> str:
    found = None if facts.control is None or method is facts.control else facts.difference(method, facts.control)
    return "–" if found is None else f"{found.wins} of {found.tasks}"


def _caption(facts: ReportFacts, references: Sequence[MethodFacts]) -> str:
    note = f" ({facts.metric.note})" if facts.metric.note else ""
    mean = ", mean over tasks" if len(facts.tasks) > 1 else ", mean" if spread_words(facts) else ""
    words = f"Test {facts.metric.name}{note}{mean}{spread_words(facts)}."
    if not references:
        return words
    names = [f"{label(each.name)}{', the control' if each is facts.control else ''}" for each in references]
    others = " and of ".join(names)
    over = "tasks and seeds" if len(facts.tasks) > 1 else "seeds"
    if facts.scale == "ratio":
        return (
            f"{words} Ratios are means over {over} of {facts.metric.name} divided by that of {others}; below 1 is "
            "better."
        )
    side = "above" if facts.metric.higher_is_better else "below"
    return (
        f"{words} Differences are means over {over} of {facts.metric.name} minus that of {others}; {side} 0 is better."
    )
