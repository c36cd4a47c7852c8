"""Write facts and sections to one self-contained HTML file."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from bilevel_hpo.report._answer import answer
from bilevel_hpo.report._facts import ReportFacts, report_facts
from bilevel_hpo.report._parts import PageFigure, Section, figures_of, tables
from bilevel_hpo.report._sections import sections_of
from bilevel_hpo.report._words import capital, count
from bilevel_hpo.run_folder import replacing

__all__ = ["write_report"]


def write_report(run: Path | str | ReportFacts, sections: Sequence[Section] = ()) -> Path:
    """Writes `report.html` from `results.json` and the csv files of a run folder, and returns its path.

    The page contains its figures, styles and scripts; it loads nothing.

    Args:
        run: the folder of a finished comparison, search or single training, or its facts from `report_facts`.
        sections: the sections that an adapter adds to the page.

    Raises:
        ReportError: a file is missing or damaged; the message names it and what it must be.
        ValueError: two figures have the same id.
    """
    facts = run if isinstance(run, ReportFacts) else report_facts(run)
    path = facts.folder / "report.html"
    html = _render(facts, sections)
    with replacing(path) as file:
        file.write(html.encode("utf-8", errors="replace"))
    return path


def _render(facts: ReportFacts, added: Sequence[Section]) -> str:
    environment = Environment(
        loader=PackageLoader("bilevel_hpo.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    said = answer(facts)
    sections = sections_of(facts, said, added)
    drawn = list(figures_of(sections))
    _check_ids(drawn)
    csv = tables(drawn)
    data = {each.id: json.loads(each.figure.to_json()) | {"csv": csv.get(each.id)} for each in drawn}
    plotly_js, page_js = get_plotlyjs(), _source(environment, "report.js")
    return environment.get_template("report.html.j2").render(
        over=_over(facts, [text for section in added if section.after == "header" for text in section.parts]),
        answer=said,
        sections=list(_anchored(sections)),
        with_csv=csv.keys(),
        css=Markup(_source(environment, "report.css")),  # ours, from the package
        figure_json=_embedded(data),
        plotly_js=Markup(plotly_js),
        page_js=Markup(page_js),
        script_hashes=" ".join(f"'{_hash(script)}'" for script in (plotly_js, page_js)),
    )


def _over(facts: ReportFacts, added: Sequence[Any]) -> str:
    """Returns the line above the title."""
    kind = "one training" if facts.kind == "training" else facts.kind
    counts = [count(len(facts.tasks), "task")] if len(facts.tasks) > 1 else []
    counts += [count(len(facts.methods), "method")] if len(facts.methods) > 1 else []
    counts += [count(len({seed for method in facts.methods for seed in method.seeds}), "seed")]
    return f"{capital(kind)}: {', '.join([*counts, *map(str, added)])}"


def _anchored(sections: Sequence[Section]) -> Iterator[tuple[str, Section]]:
    """Yields the sections with an id to link to; empty for those without a title."""
    seen: set[str] = set()
    for section in sections:
        anchor = re.sub(r"[^a-zλ0-9]+", "-", (section.link or section.title).lower()).strip("-").replace("λ", "lambda")
        anchor = f"{anchor}-{len(seen)}" if anchor in seen else anchor
        seen.add(anchor)
        yield anchor if section.title else "", section


def _check_ids(figures: Sequence[PageFigure]) -> None:
    ids = [figure.id for figure in figures]
    twice = sorted({each for each in ids if ids.count(each) > 1})
    if twice:
        raise ValueError(f"figures must have different ids; {twice} is used twice")


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _embedded(content: Any) -> Markup:
    r"""Returns JSON that cannot leave its script element: `<`, `>` and `&` are written as \u003c, \u003e and \u0026."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _hash(script: str) -> str:
    """Returns the hash for the Content-Security-Policy: only these two scripts may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
