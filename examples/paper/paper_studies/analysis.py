"""The result of an analysis of a benchmark (tables, figures and findings), and the folder that it is written to."""

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
    """The result of an analysis of a finished run."""

    tables: Mapping[str, pd.DataFrame]
    """Tables by the name of their CSV file."""
    figures: Mapping[str, go.Figure]
    """Figures by the name of their files."""
    findings: str
    """The findings in words, as Markdown."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The numbers behind `findings`, for findings.json; the file is not written if there are none."""


def check_folder(folder: Path, table: str) -> None:
    """Check that `folder` is empty or holds an earlier analysis with this table, which may be replaced.

    Raises:
        RunError: the folder holds anything else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / f"{table}.csv").exists():
        raise RunError(f"{folder} is not empty and holds no {table}.csv; choose another --out")


def write_analysis(folder: Path, analysis: Analysis) -> str | None:
    """Write a CSV for every table, every figure as HTML and PNG, findings.md and findings.json.

    Files of an earlier analysis are replaced.

    Returns:
        The reason why no PNG could be written; None if they were written.
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
