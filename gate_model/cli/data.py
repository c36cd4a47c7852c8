"""`gate data`: build and describe the property table; and how every command loads the one that its options name."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bilevel_hpo.run_folder import write_csv
from gate_model.cli._options import AtLeastOption, DataOption, DerivedOption, JoinOption, SmilesOption, TasksOption
from gate_model.cli._run import console
from gate_model.data.chemicals.declarations import AVAILABLE
from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.files.join import load_joined
from gate_model.data.files.user_csv import read_csv
from gate_model.data.table import DataError, PropertyTable
from gate_model.data.tasks import CATALOGUE

__all__ = ["app", "load_table"]

app = typer.Typer(help="Build, describe and write the property table.", no_args_is_help=True)

_DEFAULT = ("DS", "HV", "BP")
_SHOWN = 10
_WIDTH = 160  # of the description in a pipe or a file
_PARTNERS = 3
_AT_LEAST = (1, 2, 5, 10, 20)

RebuildOption = Annotated[bool, typer.Option("--rebuild", help="Build the chemicals table anew.")]


@app.command()
def build(
    data: DataOption = "chemicals",
    tasks: TasksOption = "all",
    smiles_column: SmilesOption = None,
    at_least: AtLeastOption = 1,
    derived: DerivedOption = False,
    join: JoinOption = None,
    rebuild: RebuildOption = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the table here as CSV, and the source of each label beside it.")
    ] = None,
) -> None:
    """Build the table and cache it; write it as CSV if asked. All tasks unless --tasks names some."""
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join, rebuild=rebuild)
    labels = int(np.isfinite(table.labels).sum())
    console.print(f"{table.source}: {len(table.smiles)} molecules, {len(table.tasks)} tasks, {labels} labels")
    if out is not None:
        provenance = out.with_suffix(".provenance.csv")
        write_csv(out, table.to_frame())
        write_csv(provenance, table.provenance)
        console.print(f"wrote {out} and {provenance}", soft_wrap=True)


@app.command()
def describe(
    data: DataOption = "chemicals",
    tasks: TasksOption = "all",
    smiles_column: SmilesOption = None,
    at_least: AtLeastOption = 1,
    derived: DerivedOption = False,
    join: JoinOption = None,
    overlaps: Annotated[
        Path | None, typer.Option(help="Write the number of molecules that two tasks share here, all pairs, as CSV.")
    ] = None,
) -> None:
    """Labels of each task beside the paper's count, units, ranges, and what tasks share. All tasks by default."""
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    out = Console(width=None if sys.stdout.isatty() else _WIDTH)
    out.print(_view(table))
    counts = np.isfinite(table.labels).sum(1)
    shares = ", ".join(f"{n}: {int((counts >= n).sum())}" for n in _AT_LEAST if n <= len(table.tasks))
    out.print(f"molecules with at least so many labels: {shares}", highlight=False)
    if data == "chemicals":
        missing = [name for name in CATALOGUE if name not in AVAILABLE and name not in table.abbreviations]
        named = ", ".join(f"{name} ({CATALOGUE[name].name})" for name in missing)
        if missing:
            out.print(f"from your own file, with --join: {named}", highlight=False)
        if not derived:
            out.print("labels derived from other tasks are left out; --derived adds them", highlight=False)
    if overlaps is not None:
        write_csv(overlaps, table.overlaps().reset_index())
        console.print(f"wrote {overlaps}", soft_wrap=True)


def load_table(
    data: str,
    tasks: str | None,
    smiles_column: str | None,
    at_least: int,
    *,
    derived: bool = False,
    join: Path | None = None,
    rebuild: bool = False,
) -> PropertyTable:
    """The table that the options name; what of a user's file is set aside is printed.

    Raises:
        DataError: a task, file or column that cannot be used, or options that do not go together.
    """
    names = None if tasks is None else [name.strip() for name in tasks.split(",") if name.strip()]
    everything = names == ["all"]
    if data != "chemicals":
        if derived or join:
            option = "--derived" if derived else f"--join {join}"
            raise DataError(f"{option} is for --data chemicals, not for --data {data}")
        table = read_csv(Path(data), tasks=None if everything else names, smiles_column=smiles_column)
    elif join is not None:
        table = load_joined(
            join, None if everything else names, derived=derived, smiles_column=smiles_column, rebuild=rebuild
        )
    else:
        table = load_chemicals(None if everything else names or _DEFAULT, derived=derived, rebuild=rebuild)
    _print_set_aside(table)
    return table.with_at_least(at_least) if at_least > 1 else table


def _print_set_aside(table: PropertyTable) -> None:
    for action, rows in table.set_aside.groupby("action", sort=False):
        console.print(f"[yellow]{len(rows)} × {action}:[/yellow]")
        for row, column, reason in rows[["row", "column", "reason"]].head(_SHOWN).itertuples(index=False, name=None):
            place = f"line {row}, column {column}" if row != "" else f"column {column}"
            console.print(f"  {place}: {reason}", markup=False, highlight=False, soft_wrap=True)
        if len(rows) > _SHOWN:
            console.print(f"  … and {len(rows) - _SHOWN} more; all of them in set_aside.csv of the run folder")


def _view(table: PropertyTable) -> Table:
    view = Table(title=f"{len(table.smiles)} molecules from {table.source}")
    for column in ("task", "name", "unit", "kind"):
        view.add_column(column)
    facts = table.describe()
    numbers = ["labels", *(["derived"] if facts["derived"].any() else []), "paper", "min", "median", "max"]
    for column in numbers:
        view.add_column(column, justify="right")
    view.add_column("shares most molecules with")
    facts["paper"] = [f"{paper:.0f}" if paper > 0 else "" for paper in facts["paper"]]
    for column in ("min", "median", "max"):
        facts[column] = facts[column].map("{:.4g}".format)
    order = ["task", "name", "unit", "kind", *numbers]
    for row, (_, shared) in zip(facts[order].itertuples(index=False), table.overlaps().iterrows(), strict=True):
        partners = shared.drop(row[0]).astype(int).nlargest(_PARTNERS)
        view.add_row(*map(str, row), ", ".join(f"{name} {count}" for name, count in partners.items() if count))
    return view
