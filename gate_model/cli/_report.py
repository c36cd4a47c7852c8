"""Write the report of a run folder, and print its path."""

from pathlib import Path

from gate_model.cli._console import console
from gate_model.report import write_report

__all__ = ["report_shown"]


def report_shown(folder: Path) -> None:
    """Write report.html from the files of a run folder, and print its path."""
    console.print(f"report: {write_report(folder).resolve()}", markup=False, highlight=False, soft_wrap=True)
