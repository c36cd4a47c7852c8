"""Joining a user's file to the chemicals table. The file can add tasks and molecules, and replace labels."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gate_model.data.chemicals.declarations import AVAILABLE, DECLARATIONS
from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.files.user_csv import comma_hint, read_additions
from gate_model.data.table import SET_ASIDE_COLUMNS, DataError, Origins, PropertyTable
from gate_model.data.tasks import CATALOGUE

__all__ = ["join", "load_joined"]

_SAME = 1e-6  # relative


def load_joined(
    path: Path | str,
    tasks: Sequence[str] | None = None,
    *,
    derived: bool = False,
    smiles_column: str | None = None,
    rebuild: bool = False,
) -> PropertyTable:
    """Return the chemicals table joined with a user's file.

    Args:
        path: the user's CSV file.
        tasks: tasks of the table or the file; None: all tasks of both.
        derived: include labels that are computed from labels of other tasks.
        smiles_column: name of the SMILES column in the file; None: the column that is called smiles.
        rebuild: build the chemicals table again, even if it is cached.

    Raises:
        DataError: see `read_additions` and `load_chemicals`.
    """
    mine = read_additions(path, smiles_column=smiles_column)
    if tasks is None:
        return join(load_chemicals(derived=derived, rebuild=rebuild), mine)
    names = list(dict.fromkeys(tasks))
    for name in names:
        if name not in CATALOGUE and (hint := comma_hint(name, mine.abbreviations)) and name not in mine.abbreviations:
            raise DataError(f"{path}: no task {name!r} (--tasks){hint}")
    added = [name for name in names if name in mine.abbreviations]
    if not added:
        raise DataError(
            f"{path}: none of {', '.join(names)} is a column that can be joined; it has {', '.join(mine.abbreviations)}"
        )
    # A task that has only derived labels in the library is left out of it if the file has the task.
    library = [
        n for n in names if n not in added or (n in AVAILABLE and (derived or DECLARATIONS[n].kind != "derived"))
    ]
    mine = mine.select(added)
    return join(load_chemicals(library, derived=derived, rebuild=rebuild), mine).select(names) if library else mine


def join(library: PropertyTable, mine: PropertyTable) -> PropertyTable:
    """Return a table with the molecules and tasks of both tables; those of the library come first.

    Molecules are matched by canonical SMILES, tasks by abbreviation. Where both tables have a label, the one of `mine`
    is used; if the library's label differs, it is listed in `set_aside`.
    """
    tasks = {task.abbreviation: task for task in (*library.tasks, *mine.tasks)}
    columns = {name: place for place, name in enumerate(tasks)}
    rows = {smiles: place for place, smiles in enumerate(dict.fromkeys((*library.smiles, *mine.smiles)))}
    before, origins = library.labels, library.origins or Origins.single(library.source, "user", library.labels)
    labels, codes = np.full((len(rows), len(tasks)), np.nan), np.full((len(rows), len(tasks)), -1, np.int16)
    labels[: before.shape[0], : before.shape[1]] = before
    codes[: before.shape[0], : before.shape[1]] = origins.codes
    aside = []
    for column, task in enumerate(mine.tasks):
        given = np.flatnonzero(np.isfinite(mine.labels[:, column]))
        at = np.array([rows[mine.smiles[row]] for row in given], dtype=np.int64)
        place = columns[task.abbreviation]
        values, replaced = mine.labels[given, column], labels[at, place].copy()
        for row in np.flatnonzero(np.abs(replaced - values) > _SAME * np.abs(values)):
            source = f"{library.source} ({origins.names[codes[at[row], place]]})"
            reason = f"{mine.source} has {values[row]:g} for {mine.smiles[given[row]]}, {source} has {replaced[row]:g}"
            aside.append(("", task.abbreviation, f"{replaced[row]:g}", reason, "the file's value is used"))
        labels[at, place] = values
        codes[at, place] = len(origins.names)
    merged = Origins((*origins.names, mine.source), (*origins.kinds, "user"), codes)
    listed = pd.DataFrame(aside, columns=list(SET_ASIDE_COLUMNS))
    return PropertyTable(
        tuple(replace(task, kind=merged.kind_of(place)) for place, task in enumerate(tasks.values())),
        tuple(rows),
        labels,
        pd.concat([library.set_aside, mine.set_aside, listed], ignore_index=True),
        f"{library.source} + {mine.source}",
        merged,
    )
