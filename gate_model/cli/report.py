"""`gate report`: write the report page of a run again."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "report"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Folder of a finished run, as given to --out.")]) -> None:
    """Write the page report.html again from the files of a run folder."""
    from gate_model.cli._report import report_shown  # noqa: PLC0415  So that the help is quick.

    report_shown(run)
