"""What the commands have in common that look into a finished `gate benchmark`."""

from pathlib import Path
from typing import Annotated

import typer

from gate_model.cli._run import console
from gate_model.experiments.analysis import Analysis, write_analysis

__all__ = ["AnalysisOption", "RunArgument", "write_shown"]

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished `gate benchmark`.")]
AnalysisOption = Annotated[Path, typer.Option("--out", help="Folder for the results; earlier ones are replaced.")]


def write_shown(out: Path, found: Analysis) -> None:
    """Write it, print its findings, and say why there is no PNG if there is none."""
    without = write_analysis(out, found)
    console.print(found.findings, markup=False, highlight=False, soft_wrap=True)
    if without is not None:
        console.print(f"no PNG: {without}", markup=False, highlight=False, soft_wrap=True)
