"""Load the table that a command works on, and print what was set aside from the user's file."""

from gate_model.cli._console import console
from gate_model.data.request import DataRequest
from gate_model.data.table import PropertyTable

__all__ = ["load_shown", "show_set_aside"]

_SHOWN = 10


def load_shown(request: DataRequest, *, rebuild: bool = False) -> PropertyTable:
    """Load the table with `request.load`, and print the rows, cells and columns that were set aside."""
    table = request.load(rebuild=rebuild)
    show_set_aside(table)
    return table


def show_set_aside(table: PropertyTable) -> None:
    """The rows and columns of a user's file that are not used as they stand."""
    for action, rows in table.set_aside.groupby("action", sort=False):
        console.print(f"[yellow]{len(rows)} × {action}:[/yellow]")
        for row, column, reason in rows[["row", "column", "reason"]].head(_SHOWN).itertuples(index=False, name=None):
            place = f"line {row}, column {column}" if row != "" else f"column {column}"
            console.print(f"  {place}: {reason}", markup=False, highlight=False, soft_wrap=True)
        if len(rows) > _SHOWN:
            console.print(f"  … and {len(rows) - _SHOWN} more; set_aside.csv in the run folder lists all of them")
