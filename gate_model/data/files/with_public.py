"""A user's table beside the public one: what joins, what both have, and a split that the user's molecules decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gate_model.data.chemicals.declarations import AVAILABLE
from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.files.join import join
from gate_model.data.files.user_csv import as_papers, has_column, read_csv
from gate_model.data.molecules.family import family
from gate_model.data.splits import Split, scaffold_split
from gate_model.data.table import DataError, PropertyTable

__all__ = ["Overlap", "WithPublic", "joined_split", "load_with_public"]

_PUBLIC_FRACTIONS = (0.8, 0.1, 0.05, 0.05)
"""Of the public molecules that the user's molecules leave free: most of them are there to be learned from."""


@dataclass(frozen=True)
class Overlap:
    """What a user's table and the public one have in common."""

    molecules: int
    """Of the user, that are in the public table."""
    public_labels: int
    """Public labels of these molecules."""
    columns: dict[str, int]
    """The user's columns that are public properties too, and the molecules for which both have a label."""


@dataclass(frozen=True, eq=False)
class WithPublic:
    """A user's table, the public table, and both joined."""

    mine: PropertyTable
    """Its columns are named as in `joined`."""
    public: PropertyTable

    @cached_property
    def joined(self) -> PropertyTable:
        """Public tasks and molecules first; where both have a label, the user's is used (see `join`)."""
        return join(self.public, self.mine)

    def overlap(self) -> Overlap:
        """Counts of what both tables have."""
        place = {smiles: row for row, smiles in enumerate(self.public.smiles)}
        both = [(row, place[smiles]) for row, smiles in enumerate(self.mine.smiles) if smiles in place]
        mine, public = np.array(both, dtype=np.int64).reshape(-1, 2).T
        known = np.isfinite(self.public.labels[public])
        columns = {}
        for column, name in enumerate(self.mine.abbreviations):
            if name in self.public.abbreviations:
                also = known[:, self.public.abbreviations.index(name)]
                columns[name] = int((np.isfinite(self.mine.labels[mine, column]) & also).sum())
        return Overlap(len(both), int(known.sum()), columns)

    def rows(self) -> NDArray[np.int64]:
        """Where the user's molecules stand in `joined`, in the order of `mine`."""
        place = {smiles: row for row, smiles in enumerate(self.joined.smiles)}
        return np.array([place[smiles] for smiles in self.mine.smiles], dtype=np.int64)


def load_with_public(
    path: Path | str,
    tasks: Sequence[str] | None = None,
    *,
    at_least: int = 1,
    smiles_column: str | None = None,
    rebuild: bool = False,
) -> WithPublic:
    """A user's file, and beside it all public properties with the labels derived from other properties.

    Derived labels are allowed here, since the test molecules are those of every task.

    Args:
        path: the user's file, as `read_csv` reads it; one usable column is enough.
        tasks: columns of the file and abbreviations of public properties. Where a column is named, only the named ones
            are read; where a public property is named, only the named ones join. None: all of both.
        at_least: molecules of the file with fewer labels in it are left out, and other public molecules with fewer
            public labels.
        smiles_column: see `read_csv`.
        rebuild: build the public table anew, whatever the cache holds.

    Raises:
        DataError: see `read_csv` and `as_papers`.
    """
    path = Path(path)
    names = list(dict.fromkeys(tasks or ()))
    columns = [name for name in names if name not in AVAILABLE or has_column(path, name)]
    chosen = [name for name in names if name in AVAILABLE]
    read = read_csv(path, tasks=columns or None, smiles_column=smiles_column, min_tasks=1)
    mine = as_papers(read, path).with_at_least(at_least)
    return WithPublic(mine, load_chemicals(chosen or None, derived=True, rebuild=rebuild).with_at_least(at_least))


def joined_split(data: WithPublic, own: Split, *, seed: int) -> Split:
    """The split of `data.joined` that follows from `own`, the split of `data.mine`.

    1. A molecule of the user stays in its part.
    2. A public molecule of the same `family` as one of the user's test molecules is a test molecule for every task, and
       one of the family of a selection molecule is a selection molecule: nothing like them is trained on.
    3. The other public molecules are split by scaffold among themselves: 80 % train, 10 % validation, 5 % selection
       and 5 % test.

    Args:
        data: the tables.
        own: of the rows of `data.mine`.
        seed: of the third step.

    Raises:
        DataError: a task would have no label in some part.
    """
    table, rows = data.joined, data.rows()
    part = np.full(len(table.smiles), -1)
    held: dict[str, int] = {}
    for number, name in enumerate(("train", "validation", "selection", "test")):
        part[rows[getattr(own, name)]] = number
        if name in ("selection", "test"):
            held |= {family(data.mine.smiles[row]): number for row in getattr(own, name)}
    for row in np.flatnonzero(part < 0):
        part[row] = held.get(family(table.smiles[row]), -1)
    free, present = np.flatnonzero(part < 0), np.isfinite(table.labels)
    missing = ~np.array([present[part == number].any(0) for number in range(4)]).all(0)
    smiles, labels = [table.smiles[row] for row in free], table.labels[np.ix_(free, np.flatnonzero(missing))]
    try:
        rest = scaffold_split(smiles, labels, seed=seed, fractions=_PUBLIC_FRACTIONS)
    except DataError as error:
        few = sorted(zip(np.isfinite(labels).sum(0), np.array(table.abbreviations)[missing], strict=True))[:3]
        named = ", ".join(f"{name} ({count})" for count, name in few)
        raise DataError(
            "the public molecules that are not like the file's selection or test molecules have too few labels of some "
            f"property to give each part one; the fewest are {named}: leave properties out with --tasks"
        ) from error
    for number, found in enumerate(vars(rest).values()):
        part[free[found]] = number
    return Split(*(np.flatnonzero(part == number) for number in range(4)))
