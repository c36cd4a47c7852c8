"""The table that a command works on, and what of the user's file is not used."""

from gate_model.cli._console import console
from gate_model.data.request import DataRequest
from gate_model.data.table import PropertyTable

__all__ = ["load_shown"]

_SHOWN = 10


def load_shown(request: DataRequest, *, rebuild: bool = False) -> PropertyTable:
    """`request.load`; what was set aside is printed."""
    table = request.load(rebuild=rebuild)
    for action, rows in table.set_aside.groupby("action", sort=False):
        console.print(f"[yellow]{len(rows)} × {action}:[/yellow]")
        for row, column, reason in rows[["row", "column", "reason"]].head(_SHOWN).itertuples(index=False, name=None):
            place = f"line {row}, column {column}" if row != "" else f"column {column}"
            console.print(f"  {place}: {reason}", markup=False, highlight=False, soft_wrap=True)
        if len(rows) > _SHOWN:
            console.print(f"  … and {len(rows) - _SHOWN} more; all of them in set_aside.csv of the run folder")
    return table
