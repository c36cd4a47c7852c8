"""The section of the report about the data: the tasks, the split, and the rows that were set aside."""

from collections.abc import Iterator

import pandas as pd

from bilevel_hpo.report import Column, Fold, PageTable, ReportFacts, Section, Soft

__all__ = ["data_parts"]

_ROWS_SHOWN = 20
_FEW = 5
_USES = {
    "train": "trains the model",
    "validation": "λ is learned from it; a part is exchanged for training molecules after every epoch",
    "selection": "chooses the winner of a search; never exchanged",
    "test": "used once, for the numbers on this page",
}


def data_parts(facts: ReportFacts, source: str, set_aside: pd.DataFrame) -> Iterator[Soft | PageTable | Section]:
    """Yield the table of the tasks, the table of the split, and the section with the rows that were set aside.

    Args:
        facts: the facts of the run.
        source: the number of molecules and where they come from, in words.
        set_aside: columns row, column, value, reason and action, all of them text.
    """
    yield _tasks(facts, source)
    split = facts.files.results.get("split") or {}
    parts = [(part, str(split[part]), use) for part, use in _USES.items() if part in split]
    if parts:
        several = (
            " Counts are those of the first seed." if any(len(method.seeds) > 1 for method in facts.methods) else ""
        )
        head = (Column("part"), Column("molecules", number=True), Column("use"))
        yield PageTable(f"Split: {split.get('method', '')}.{several}", head, tuple(parts))
    yield Section("Set aside", tuple(_set_aside(set_aside)))


def _tasks(facts: ReportFacts, source: str) -> PageTable:
    info = facts.files.results["task_info"]
    head = tuple(Column(name) for name in ("task", "property", "unit", "kind of label"))
    rows = tuple(
        (task, *(str(info[task].get(key, "")) for key in ("name", "unit", "kind", "labels"))) for task in facts.tasks
    )
    return PageTable(f"{source}.", (*head, Column("labels", number=True)), rows)


def _set_aside(rows: pd.DataFrame) -> Iterator[str | Fold]:
    if rows.empty:
        yield "Nothing was set aside."
        return
    counts = ", ".join(f"{number} × {action}" for action, number in rows["action"].value_counts().items())
    yield f"{counts}. The file set_aside.csv lists all of them."
    total, shown = len(rows), rows.head(_ROWS_SHOWN)
    names = ("row", "column", "value", "reason", "action")
    cells = tuple(tuple(map(str, row)) for row in shown[list(names)].to_numpy())
    table = PageTable("", tuple(Column(name) for name in names), cells)
    summary = f"The first {len(shown)} of {total}" if total > len(shown) else f"All {total}"
    yield Fold(summary, (table,), open=total <= _FEW)
