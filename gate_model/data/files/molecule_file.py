"""Reading the molecules of a file in parts, so that a large file needs no more memory than a small one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from gate_model.data.files.user_csv import csv_rows, smiles_column_of
from gate_model.data.molecules.smiles import canonical, unreadable
from gate_model.data.table import DataError

__all__ = ["MoleculeFile", "Row"]


class Row(NamedTuple):
    """One row of the file."""

    line: int
    """Number of its line in the file; the header is line 1."""
    smiles: str
    """SMILES as given in the file."""
    canonical: str | None
    """Canonical SMILES; None if the given one cannot be read."""
    problem: str
    """Why it cannot be read; empty if it can."""


@dataclass(frozen=True)
class MoleculeFile:
    """A UTF-8 file with a SMILES column; cells are separated by commas, semicolons or tabs."""

    path: Path
    smiles_column: str | None = None
    """Name of the SMILES column. None: the column called smiles, in any case, or the only one with smiles in it."""

    def count(self) -> int:
        """Return the number of rows below the header.

        Raises:
            DataError: the file cannot be read to its end, or has no row below the header.
        """
        n = sum(1 for _ in self._cells())
        if n == 0:
            raise DataError(f"{self.path}: no row below the header")
        return n

    def chunks(self, size: int) -> Iterator[list[Row]]:
        """Yield lists of up to `size` rows, in order. Empty lines are skipped."""
        rows = (_row(line, text) for line, text in self._cells())
        while chunk := list(islice(rows, size)):
            yield chunk

    def _cells(self) -> Iterator[tuple[int, str]]:
        """Return the line number and the SMILES text of every row."""
        rows = csv_rows(self.path)
        _, header = next(rows)
        column = header.index(smiles_column_of(header, self.smiles_column, self.path))
        return ((line, cells[column]) for line, cells in rows)


def _row(line: int, text: str) -> Row:
    structure = canonical(text) if text else None
    if structure is not None:
        return Row(line, text, structure, "")
    return Row(line, text, None, unreadable(text))
