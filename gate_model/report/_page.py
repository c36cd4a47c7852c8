"""The report page: the engine's page, with the sections that only molecules have."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from bilevel_hpo.report import (
    Fold,
    Gallery,
    ReportError,
    ReportFacts,
    Section,
    Soft,
    check,
    label,
    per_task,
    read_table,
    report_facts,
    task_table,
    titled,
)
from bilevel_hpo.report import write_report as write_page
from gate_model.report._data import data_parts
from gate_model.report._parity import parity
from gate_model.report._with_public import bought_parts

__all__ = ["write_report"]

_OPEN = 12
"""Folded parts with an entry for each task are open up to this number of tasks."""


def write_report(folder: Path) -> Path:
    """Write `report.html` into a run folder, and return its path.

    If the run used molecules, the page also shows the predictions, the errors in the tasks' own units, and the data.

    Args:
        folder: the folder of a finished comparison, search or single training.

    Raises:
        ReportError: a file is missing or damaged; the message names it and what it must hold.
    """
    facts = report_facts(folder)
    sections = tuple(_sections(facts)) if "data" in facts.files.results else ()
    return write_page(facts, sections)


def _sections(facts: ReportFacts) -> Iterator[Section]:
    results, where = facts.files.results, facts.folder / "results.json"
    check(results, {"data": dict, "task_info": dict}, str(where))
    data, info = results["data"], results["task_info"]
    check(data, {"source": str, "molecules": int}, f"{where}: data")
    for task in facts.tasks:
        if not isinstance(info.get(task), dict):
            raise ReportError(f"{where}: task_info lacks {task!r}: it must give its name, unit, kind and labels")
    source = f"{data['molecules']} molecules from {data['source']}"
    yield Section("", (source,), after="header")
    if (facts.folder / "with_public.csv").exists():
        yield Section(
            "What the public table bought", tuple(bought_parts(facts.folder)), after="answer", link="Public table"
        )
    yield from _units(facts, {task: str(info[task].get("unit", "")) for task in facts.tasks})
    if facts.kind in ("comparison", "training"):
        yield from _predictions(facts, {task: str(info[task].get("unit", "")) for task in facts.tasks})
        text = ("row", "column", "value", "reason", "action")
        yield Section("Data", tuple(data_parts(facts, source, read_table(facts.folder / "set_aside.csv", text, ()))))
    split = (results.get("split") or {}).get("method", "an unknown rule")
    yield Section(
        "",
        (
            Soft(
                f"{source}, split by {split}. One seed gives one result, to the last bit on the same machine and "
                "versions."
            ),
        ),
        after="again",
    )


def _units(facts: ReportFacts, units: dict[str, str]) -> Iterator[Section]:
    """Yield the section with the errors in the unit of each task."""
    scored = [method for method in facts.methods if method.seeds]
    spread = ", mean ± standard deviation over seeds" if any(len(method.seeds) > 1 for method in scored) else ""
    table = task_table(
        f"Test {facts.metric.name} in the unit of each task{spread}.",
        [label(method.name) for method in scored],
        list(units.items()),
        [_in_units(facts, method.name) for method in scored],
        ".4g",
        higher_is_better=facts.metric.higher_is_better,
    )
    yield Section("", (Fold("In the units of the tasks", (table,), open=len(facts.tasks) <= _OPEN),), after="tasks")


def _in_units(facts: ReportFacts, name: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    found = next(method for method in facts.files.results["methods"] if method["name"] == name)
    where = f"{facts.folder / 'results.json'}: method {name!r}"
    check(found, {"test_units": dict}, where)
    return per_task(found, "test_units", facts.tasks, len(found["seeds"]), where)


def _predictions(facts: ReportFacts, units: dict[str, str]) -> Iterator[Section]:
    """Yield the section that plots predictions against labels, for the method that the page shows."""
    text, numeric = ("method", "smiles", "task", "unit"), ("seed", "y_true", "y_pred")
    rows: pd.DataFrame = read_table(facts.folder / "predictions.csv", text, numeric)
    shown = facts.shown
    figures = tuple(parity(facts, rows[rows["method"] == shown.name], units, _in_units(facts, shown.name)))
    if not figures:
        return
    title = titled(shown)
    seeds = f", {len(shown.seeds)} seeds, each with its own test molecules" if len(shown.seeds) > 1 else ""
    summary = f"{len(figures)} figure{'' if len(figures) == 1 else 's'}, one for each task"
    yield Section(
        "Predictions for the test molecules",
        (
            Soft(f"{title[:1].upper()}{title[1:]}{seeds}. On the line the prediction equals the label."),
            Fold(summary, (Gallery(figures, "small"),), open=len(facts.tasks) <= _OPEN),
        ),
        link="Predictions",
    )
