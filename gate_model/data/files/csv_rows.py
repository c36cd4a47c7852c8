"""The rows of a CSV that nobody prepared, one at a time, so that its size does not matter."""

import csv
from collections.abc import Iterator
from pathlib import Path

from gate_model.data.table import DataError

__all__ = ["csv_rows"]


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line in the file and cells of every row, the header first; cells are stripped, and as many as the header has.

    Comma-, semicolon- or tab-separated, UTF-8; empty lines are skipped.

    Raises:
        DataError: no such file, not text, no header, or a row with more cells than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header_line = file.readline()
            delimiter = max(",;\t", key=header_line.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
            header = [name.strip() for name in next(reader)]
            yield 1, header
            start = reader.line_num + 1
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    if len(cells) > len(header):
                        wide = f"{len(cells)} cells, the header has {len(header)} columns"
                        raise DataError(f"{path}, line {start}: {wide}")
                    yield start, [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
                start = reader.line_num + 1
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    except (StopIteration, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file with a header ({str(error) or 'it is empty'})") from error
