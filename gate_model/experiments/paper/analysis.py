"""What an analysis leaves behind: tables, a figure, and what it says in words; and the folder they go into."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from bilevel_hpo.plots import PALETTE, ExportError, export
from gate_model.experiments.paper.finished_run import NAMES
from gate_model.runs import RunError, replacing, write_csv

__all__ = ["COLOURS", "PAPER_COLOUR", "Analysis", "write_analysis"]

COLOURS: Mapping[str, str] = dict(zip(NAMES, PALETTE, strict=True))
"""Of the methods."""
PAPER_COLOUR = "#868e9a"
"""Of the paper's numbers in figures: a grey that can be seen on white and on black."""


@dataclass(frozen=True)
class Analysis:
    """One table or figure of the paper, repeated."""

    name: str
    """Of the figure's files too."""
    tables: Mapping[str, pd.DataFrame]
    """By the name of their CSV file; one is called as the analysis."""
    figure: go.Figure
    findings: str
    """Markdown."""


def write_analysis(folder: Path, analysis: Analysis) -> str | None:
    """A CSV for every table, the figure as HTML and PNG, and findings.md; an earlier result is replaced.

    Returns:
        Why there is no PNG, or nothing.

    Raises:
        RunError: `folder` holds something else.
    """
    name = analysis.name
    if folder.exists() and any(folder.iterdir()) and not (folder / f"{name}.csv").exists():
        raise RunError(f"{folder} is not empty and holds no {name} (no {name}.csv); choose another --out")
    for table, frame in analysis.tables.items():
        write_csv(folder / f"{table}.csv", frame)
    with replacing(folder / "findings.md") as file:
        file.write(f"{analysis.findings}\n".encode())
    (folder / f"{name}.png").unlink(missing_ok=True)
    try:
        export(analysis.figure, analysis.tables[name], folder / name, ["html", "png"])
    except ExportError as error:
        return str(error)
    return None
