"""The molecules of a file, a part at a time, so that its size does not matter."""

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
    """One data row."""

    line: int
    """Of the file; the header is line 1."""
    smiles: str
    canonical: str | None
    """None if it cannot be read."""
    problem: str
    """Why; empty if there is none."""


@dataclass(frozen=True)
class MoleculeFile:
    """A comma-, semicolon- or tab-separated file, UTF-8, with a SMILES column."""

    path: Path
    smiles_column: str | None = None
    """Its name; when left out, the column called smiles, in any case, or the only one that contains it."""

    def count(self) -> int:
        """Number of data rows; DataError if the file cannot be read to its end."""
        n = sum(1 for _ in self._cells())
        if n == 0:
            raise DataError(f"{self.path}: no row below the header")
        return n

    def chunks(self, size: int) -> Iterator[list[Row]]:
        """Lists of up to `size` rows, in order; empty lines are skipped."""
        rows = (_row(line, text) for line, text in self._cells())
        while chunk := list(islice(rows, size)):
            yield chunk

    def _cells(self) -> Iterator[tuple[int, str]]:
        """Line and SMILES text of every row."""
        rows = csv_rows(self.path)
        _, header = next(rows)
        column = header.index(smiles_column_of(header, self.smiles_column, self.path))
        return ((line, cells[column]) for line, cells in rows)


def _row(line: int, text: str) -> Row:
    structure = canonical(text) if text else None
    if structure is not None:
        return Row(line, text, structure, "")
    return Row(line, text, None, unreadable(text))
