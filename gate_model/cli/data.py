"""`gate data`: build and describe the property table."""
# ruff: noqa: PLC0415  What reads tables is imported by the commands, so that their help is quick.

import sys
from pathlib import Path
from typing import Annotated

import typer

from gate_model.cli._console import console
from gate_model.cli._options import TableOptions
from gate_model.cli._records import with_records

__all__ = ["app", "build", "describe"]

app = typer.Typer(
    help="Build, describe and write the property table.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

_WIDTH = 160  # of the description in a pipe or a file
_AT_LEAST = (1, 2, 5, 10, 20)


@app.command()
@with_records
def build(
    data: TableOptions,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the chemicals table again, even if it is cached.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="CSV file for the table. The source of each label goes to a second file beside it."),
    ] = None,
) -> None:
    """Build the property table and cache it, and write it as CSV if you give --out."""
    import numpy as np

    from bilevel_hpo.run_folder import write_csv
    from gate_model.cli._table import load_shown

    table = load_shown(data.request(), rebuild=rebuild)
    labels = int(np.isfinite(table.labels).sum())
    console.print(f"{table.source}: {len(table.smiles)} molecules, {len(table.tasks)} tasks, {labels} labels")
    if out is not None:
        provenance = out.with_suffix(".provenance.csv")
        write_csv(out, table.to_frame())
        write_csv(provenance, table.provenance)
        console.print(f"wrote {out} and {provenance}", soft_wrap=True)


@app.command()
@with_records
def describe(
    data: TableOptions,
    overlaps: Annotated[
        Path | None,
        typer.Option(help="CSV file for the number of molecules that carry both labels, for all pairs of tasks."),
    ] = None,
) -> None:
    """Print the unit, range and number of labels of each task, the paper's number, and the tasks it overlaps most."""
    import numpy as np
    from rich.console import Console

    from bilevel_hpo.run_folder import write_csv
    from gate_model.cli._description import description
    from gate_model.cli._table import load_shown
    from gate_model.data.chemicals.declarations import AVAILABLE
    from gate_model.data.tasks import CATALOGUE

    request = data.request()
    table = load_shown(request)
    out = Console(width=None if sys.stdout.isatty() else _WIDTH)
    out.print(description(table))
    counts = np.isfinite(table.labels).sum(1)
    shares = ", ".join(f"{n}: {int((counts >= n).sum())}" for n in _AT_LEAST if n <= len(table.tasks))
    out.print(f"molecules with at least this many labels: {shares}", highlight=False)
    if request.data == "chemicals":
        missing = [name for name in CATALOGUE if name not in AVAILABLE and name not in table.abbreviations]
        named = ", ".join(f"{name} ({CATALOGUE[name].name})" for name in missing)
        if missing:
            out.print(
                f"tasks of the paper without labels here; your own file can add them with --join: {named}",
                highlight=False,
            )
        if not request.derived:
            out.print("labels derived from other tasks are left out; --derived adds them", highlight=False)
    if overlaps is not None:
        write_csv(overlaps, table.overlaps().reset_index())
        console.print(f"wrote {overlaps}", soft_wrap=True)
