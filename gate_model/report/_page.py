"""Facts and figures into one HTML file that needs nothing else."""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from gate_model.report import _figures
from gate_model.report._answer import answer
from gate_model.report._facts import MethodFacts, ReportFacts, report_facts
from gate_model.report._page_figure import PageFigure, tables
from gate_model.report._parity import parity
from gate_model.report._search_figures import search_figures
from gate_model.report._signal_words import precision_words, signal_words
from gate_model.report._words import capital, label, plus_minus, seconds, titled

__all__ = ["write_report"]

_ROWS_SHOWN = 20
_PARTS = ("train", "validation", "selection", "test")
_USES = {
    "train": "trains the model",
    "validation": "drives λ; a part of it changes places with training molecules every epoch",
    "selection": "chooses the winner of a search; never exchanged",
    "test": "looked at once, for the numbers on this page",
}


def write_report(folder: Path) -> Path:
    """Write `report.html` from `results.json` and the csv files of a run folder, and return its path.

    The page holds its figures, styles and scripts itself; it loads nothing.

    Args:
        folder: a finished comparison, search or single training.

    Raises:
        ReportError: a file is missing or damaged; the message names it and what is wanted.
    """
    folder = Path(folder)
    html = _render(report_facts(folder))
    path = folder / "report.html"
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(html.encode("utf-8", errors="replace"))
    temporary.replace(path)
    return path


@dataclass(frozen=True)
class _Row:
    """A method's line in the table."""

    title: str
    group: str
    best: bool
    rmse: str
    to_one: str
    to_zero: str
    better_than_zero: str
    training_runs: int
    seconds: str


def _render(facts: ReportFacts) -> str:
    environment = Environment(
        loader=PackageLoader("gate_model", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = facts.best_learned or facts.best
    figures = _all_figures(facts, shown)
    drawn = [figure for group in figures.values() for figure in group]
    csv = tables(drawn)
    data = {each.id: json.loads(each.figure.to_json()) | {"csv": csv.get(each.id)} for each in drawn}
    plotly_js, page_js = get_plotlyjs(), _source(environment, "report.js")
    set_aside = facts.files.set_aside
    return environment.get_template("report.html.j2").render(
        facts=facts,
        answer=answer(facts),
        rows=list(_rows(facts)),
        spread=" ± standard deviation over seeds" if any(len(method.seeds) > 1 for method in facts.methods) else "",
        labels=[label(method.name) for method in facts.methods],
        standardised=list(_per_task(facts, "test_rmse", ".4f")),
        units=list(_per_task(facts, "test_rmse_units", ".4g")),
        shown=shown,
        shown_title=capital(titled(shown)),
        seeds=", ".join(map(str, sorted({seed for method in facts.methods for seed in method.seeds}))),
        figures=figures,
        verdicts=[*signal_words(facts, shown), *precision_words(facts, shown)],
        with_csv=csv.keys(),
        parts=[(part, facts.split[part], _USES[part]) for part in _PARTS if part in facts.split],
        actions=list(set_aside["action"].value_counts().items()),
        set_aside=set_aside.head(_ROWS_SHOWN).to_dict("records"),
        set_aside_total=len(set_aside),
        css=Markup(_source(environment, "report.css")),  # ours, from the package
        figure_json=_embedded(data),
        plotly_js=Markup(plotly_js),
        page_js=Markup(page_js),
        script_hashes=" ".join(f"'{_hash(script)}'" for script in (plotly_js, page_js)),
    )


def _all_figures(facts: ReportFacts, shown: MethodFacts) -> dict[str, list[PageFigure]]:
    """By the part of the page that they stand in."""
    against = list(_figures.against_control(facts))
    return {
        "answer": against[:1],
        "tasks": against[1:],
        "ratios": list(_figures.ratio_maps(facts, shown)),
        "transfers": list(_figures.transfers(facts, shown)),
        "others": list(_figures.other_maps(facts, shown)),
        "trajectories": list(_figures.trajectories(facts)),
        "search": list(search_figures(facts)),
        "validation": list(_figures.validation(facts)),
        "parity": list(parity(facts, shown)),
    }


def _rows(facts: ReportFacts) -> Iterator[_Row]:
    one, zero = facts.method("lambda=1"), facts.method("lambda=0")
    for method in facts.methods:
        to_zero = facts.difference(method, zero) if zero is not None and zero is not method else None
        yield _Row(
            title=method.title,
            group=method.group,
            best=method is facts.best and len(facts.methods) > 1,
            rmse=plus_minus(method.rmse, method.rmse_std),
            to_one=_ratio(facts, method, one),
            to_zero=_ratio(facts, method, zero),
            better_than_zero=f"{to_zero.tasks_better} of {to_zero.tasks}" if to_zero else "–",
            training_runs=method.training_runs,
            seconds=seconds(method.wall_s),
        )


def _ratio(facts: ReportFacts, method: MethodFacts, other: MethodFacts | None) -> str:
    if other is None:
        return "–"
    if other is method:
        return "1"
    difference = facts.difference(method, other)
    return "–" if difference is None else plus_minus(difference.ratio, difference.ratio_spread, ".3f")


def _per_task(facts: ReportFacts, which: str, digits: str) -> Iterator[dict[str, Any]]:
    """One line per task, one cell per method; the lowest mean is marked."""
    for column, task in enumerate(facts.tasks):
        columns = [getattr(method, which)[:, column] for method in facts.methods]
        means = [float(values.mean()) for values in columns]
        best = int(np.nanargmin(means)) if len(means) > 1 and not np.isnan(means).all() else -1
        yield {
            "task": task,
            "unit": facts.task_info[task].get("unit", ""),
            "cells": [
                {
                    "text": plus_minus(mean, float(values.std(ddof=1)) if len(values) > 1 else np.nan, digits),
                    "best": index == best,
                }
                for index, (mean, values) in enumerate(zip(means, columns, strict=True))
            ],
        }


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _embedded(content: Any) -> Markup:
    r"""JSON that cannot leave its script element: `<`, `>` and `&` are written as \u003c, \u003e and \u0026."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _hash(script: str) -> str:
    """As Content-Security-Policy wants it: only these two scripts may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
