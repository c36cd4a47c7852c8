"""The molecules of a file, a part at a time, so that its size does not matter."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from gate_model.data.molecules import canonical
from gate_model.data.table import DataError
from gate_model.data.user_csv import smiles_column_of

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
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                header_line = file.readline()
                delimiter = max(",;\t", key=header_line.count)
                file.seek(0)
                reader = csv.reader(file, delimiter=delimiter)
                header = [name.strip() for name in next(reader)]
                column = header.index(smiles_column_of(header, self.smiles_column, self.path))
                start = reader.line_num + 1
                for cells in reader:
                    if any(cell.strip() for cell in cells):
                        if len(cells) > len(header):
                            wide = f"{len(cells)} cells, the header has {len(header)} columns"
                            raise DataError(f"{self.path}, line {start}: {wide}")
                        yield start, cells[column].strip() if column < len(cells) else ""
                    start = reader.line_num + 1
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: no such file") from error
        except (UnicodeDecodeError, OSError) as error:
            raise DataError(f"{self.path}: cannot be read as UTF-8 text ({error})") from error
        except (StopIteration, csv.Error) as error:
            raise DataError(f"{self.path}: not a CSV file with a header ({str(error) or 'it is empty'})") from error


def _row(line: int, text: str) -> Row:
    structure = canonical(text) if text else None
    if structure is not None:
        return Row(line, text, structure, "")
    return Row(line, text, None, "RDKit cannot read this SMILES" if text else "no SMILES")
