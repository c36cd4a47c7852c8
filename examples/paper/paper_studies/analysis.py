"""What an analysis of a benchmark leaves behind: tables, figures, and what it says; and the folder they go into."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from bilevel_hpo.plots import ExportError, export
from bilevel_hpo.run_folder import RunError, replacing, write_csv, write_json
from gate_model.run_folder import versions

__all__ = ["Analysis", "check_folder", "write_analysis"]


@dataclass(frozen=True)
class Analysis:
    """What came of one question to a finished run."""

    tables: Mapping[str, pd.DataFrame]
    """By the name of their CSV file."""
    figures: Mapping[str, go.Figure]
    """By the name of their files."""
    findings: str
    """Markdown."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The numbers behind `findings`, for findings.json; where there are none there is no such file."""


def check_folder(folder: Path, table: str) -> None:
    """RunError if `folder` holds anything else than an analysis with this table, which may be replaced."""
    if folder.exists() and any(folder.iterdir()) and not (folder / f"{table}.csv").exists():
        raise RunError(f"{folder} is not empty and holds no {table}.csv; choose another --out")


def write_analysis(folder: Path, analysis: Analysis) -> str | None:
    """A CSV for every table, every figure as HTML and PNG, findings.md and findings.json; earlier ones are replaced.

    Returns:
        Why there is no PNG, or nothing.
    """
    for name, frame in analysis.tables.items():
        write_csv(folder / f"{name}.csv", frame)
    if analysis.facts:
        write_json(folder / "findings.json", {**analysis.facts, "versions": versions()})
    with replacing(folder / "findings.md") as file:
        file.write(f"{analysis.findings}\n".encode())
    for name, figure in analysis.figures.items():
        (folder / f"{name}.png").unlink(missing_ok=True)
        export(figure, pd.DataFrame(), folder / name, ["html"])
    try:
        for name, figure in analysis.figures.items():
            export(figure, pd.DataFrame(), folder / name, ["png"])
    except ExportError as error:
        return str(error)
    return None
