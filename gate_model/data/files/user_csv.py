"""Reading a user's CSV file that nobody has cleaned: what can be used is read, and the rest is listed with a reason."""

import csv
import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gate_model.data.chemicals.declarations import AVAILABLE
from gate_model.data.molecules.smiles import canonical, unreadable
from gate_model.data.table import SET_ASIDE_COLUMNS, DataError, PropertyTable
from gate_model.data.tasks import CATALOGUE, Task

__all__ = [
    "MIN_LABELS",
    "MIN_MOLECULES",
    "as_papers",
    "comma_hint",
    "csv_rows",
    "has_column",
    "read_additions",
    "read_csv",
    "smiles_column_of",
]

MIN_LABELS = 10
MIN_MOLECULES = 20
_EMPTY = {"", "na", "n/a", "nan", "none", "null", "-", "?"}
_UNIT = re.compile(r"^(?P<name>.*?)\s*(\[(?P<square>[^\[\]]*)\]|\((?P<round>[^()]*)\))\s*$")

SetAside = list[tuple[object, str, str, str, str]]


def read_csv(
    path: Path | str,
    *,
    tasks: Sequence[str] | None = None,
    smiles_column: str | None = None,
    min_labels: int = MIN_LABELS,
    min_tasks: int = 2,
) -> PropertyTable:
    """Read a file with a SMILES column and numeric columns, which may have empty cells.

    The following is left out or changed, and listed in `set_aside` with the line of the file (the header is line 1):

    - SMILES that are missing or that RDKit cannot read;
    - cells that are not a finite number;
    - molecules that appear more than once with different values (the median is used);
    - columns that are empty, not numeric, constant, or with fewer than `min_labels` labels.

    Args:
        path: a UTF-8 file; cells are separated by commas, semicolons or tabs.
        tasks: names of the columns to read; None: every numeric column.
        smiles_column: name of the SMILES column. None: the column called smiles, in any case, or the only one with
            smiles in its name.
        min_labels: a column with fewer labels is set aside.
        min_tasks: fewer usable columns are an error.

    Raises:
        DataError: there is no such file or column, or fewer than `min_tasks` usable tasks or 20
            molecules.
    """
    path = Path(path)
    table = _labels(path, tasks, smiles_column, lambda _: min_labels)
    if len(table.tasks) < min_tasks:
        names = ", ".join(table.abbreviations) or "none"
        raise DataError(
            f"{path}: {len(table.tasks)} usable task(s) ({names}); there must be at least {min_tasks}. "
            f"{_left_out(table)}"
        )
    if len(table.smiles) < MIN_MOLECULES:
        raise DataError(f"{path}: {len(table.smiles)} molecules with a label; there must be at least {MIN_MOLECULES}")
    return table


def read_additions(path: Path | str, *, smiles_column: str | None = None) -> PropertyTable:
    """Read a file as `read_csv` does, to join it to the chemicals table.

    A column whose name is an abbreviation in the paper's Table 3, in any case, becomes that task and must be in the
    table's unit. For a task that `chemicals` labels too, one label is enough.

    Raises:
        DataError: there is no such file or column, no column can be used, or the header gives one of the paper's tasks
            another unit.
    """
    path = Path(path)
    table = _labels(path, None, smiles_column, lambda task: 1 if task.abbreviation.upper() in AVAILABLE else MIN_LABELS)
    if not table.tasks:
        raise DataError(f"{path}: no column can be joined; {_left_out(table)}")
    return as_papers(table, path)


def as_papers(table: PropertyTable, path: Path) -> PropertyTable:
    """The table of a file, in which a column named by an abbreviation of the paper, in any case, is that task.

    Raises:
        DataError: the column's header has another unit, or two columns become the same task.
    """
    known = []
    for task in table.tasks:
        paper = CATALOGUE.get(task.abbreviation.upper())
        if paper and task.unit and _plain(task.unit) != _plain(paper.unit):
            raise DataError(
                f"{path}: column {task.abbreviation!r} is in {task.unit!r}; {paper.name} is in {paper.unit!r} here"
            )
        known.append(paper or task)
    _refuse_twice(known, path)
    return replace(table, tasks=tuple(known))


def _labels(
    path: Path, tasks: Sequence[str] | None, smiles_column: str | None, fewest: Callable[[Task], int]
) -> PropertyTable:
    """Return the part of a file that can be used.

    A column is set aside if it has fewer than `fewest` labels. It is also set aside if all its labels are equal, unless
    `fewest` is 1.
    """
    frame, key = _read(path, smiles_column)
    columns = [column for column in frame.columns if column != key]
    if tasks is not None:
        columns = [_named(name, columns, path) for name in tasks]
    aside: SetAside = []
    structure = _canonical(frame[key], key, aside)
    labels = {c: v for c in columns if (v := _numbers(frame[c], c, structure, aside, tasks is not None)) is not None}
    table = _merge(frame[key], structure, labels, aside)
    usable = []
    for column in labels:
        count, distinct = int(table[column].notna().sum()), table[column].nunique()
        wanted = fewest(_task(column))
        if count < wanted:
            aside.append(("", column, "", f"{count} labels; there must be at least {wanted}", "column left out"))
        elif distinct < min(wanted, 2):
            aside.append(("", column, f"{table[column].median():g}", "all labels are the same", "column left out"))
        else:
            usable.append(column)
    labelled = table[usable].notna().any(axis=1) if usable else pd.Series(False, index=table.index)
    for row, molecule in structure.dropna().items():
        if not labelled[molecule]:
            aside.append((row, key, str(molecule), "no label in any column that is used", "row left out"))
    table = table[labelled]
    chosen = tuple(_task(column) for column in usable)
    _refuse_twice(chosen, path)
    listed = pd.DataFrame(aside, columns=list(SET_ASIDE_COLUMNS))
    return PropertyTable(chosen, tuple(table.index), table[usable].to_numpy(np.float64), listed, path.name)


def _refuse_twice(tasks: Sequence[Task], path: Path) -> None:
    names = [task.abbreviation for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: columns differ only in their unit or case: {', '.join(twice)}; rename one")


def _left_out(table: PropertyTable) -> str:
    columns = table.set_aside[table.set_aside["action"] == "column left out"]
    return "; ".join(f"{c}: {r}" for c, r in columns[["column", "reason"]].itertuples(index=False, name=None))


def _plain(unit: str) -> str:
    """Return the unit without spaces and special characters."""
    return re.sub(r"[\s^]", "", unit).replace("·", ".").replace("³", "3").replace("Å", "A")


def _read(path: Path, smiles_column: str | None) -> tuple[pd.DataFrame, str]:
    """Return all cells as text, indexed by their line in the file, and the name of the SMILES column."""
    (_, header), *numbered = csv_rows(path)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(
            f"{path}: column name(s) {', '.join(map(repr, twice))} given more than once; each must be unique"
        )
    if not numbered:
        raise DataError(f"{path}: no row below the header")
    lines, rows = zip(*numbered, strict=True)
    frame = pd.DataFrame(list(rows), columns=header, index=pd.Index(lines, name="row"), dtype=str)
    return frame, smiles_column_of(header, smiles_column, path)


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of every row, the header first.

    The file must be UTF-8, with cells separated by commas, semicolons or tabs. Empty lines are skipped. Cells are
    stripped of spaces, and a short row is filled with empty cells.

    Raises:
        DataError: there is no such file, it is not text, it has no header, or a row has more cells than the header.
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


def has_column(path: Path, name: str) -> bool:
    """Whether `name` is a column of the file, as `read_csv` finds it: with or without its unit, in any case.

    Raises:
        DataError: the file cannot be read.
    """
    _, header = next(csv_rows(path))
    return any(name == column or name.lower() == _task(column).abbreviation.lower() for column in header)


def smiles_column_of(header: list[str], asked: str | None, path: Path) -> str:
    """Return the name of the SMILES column: `asked` if given, otherwise the column called smiles, in any case.

    If no column is called smiles, the only one with smiles in its name is returned.

    Raises:
        DataError: there is no such column, or more than one.
    """
    names = ", ".join(map(repr, header))
    if asked is not None:
        if asked not in header:
            raise DataError(f"{path}: no column {asked!r} (--smiles-column); the columns are {names}")
        return asked
    for fits in (lambda name: name.lower() == "smiles", lambda name: "smiles" in name.lower()):
        found = [name for name in header if fits(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(f"{path}: {', '.join(map(repr, found))} could all be SMILES; choose with --smiles-column")
    raise DataError(f"{path}: no column is called smiles; the columns are {names}. Name it with --smiles-column")


def _named(name: str, columns: list[str], path: Path) -> str:
    for fits in (lambda c: c == name, lambda c: _task(c).abbreviation.lower() == name.lower()):
        found = [column for column in columns if fits(column)]
        if found:
            return found[0]
    close = difflib.get_close_matches(name, columns, n=1)
    hint = comma_hint(name, columns) or (f"; did you mean {close[0]!r}?" if close else "")
    raise DataError(f"{path}: no column {name!r} (--tasks); the columns are {', '.join(map(repr, columns))}{hint}")


def comma_hint(part: str, names: Sequence[str]) -> str:
    """Return a hint for a message if `part` is a piece of one of `names` that was cut at its comma, otherwise ""."""
    for name in names:
        if "," in name and part in (piece.strip() for piece in name.split(",")):
            return f"""; the comma in {name!r} must be protected by quotes: --tasks '"{name}"'"""
    return ""


def _canonical(smiles: "pd.Series[str]", key: str, aside: SetAside) -> "pd.Series[str]":
    structure = smiles.map(lambda text: canonical(text) if text else None)
    for row, text in smiles[structure.isna()].items():
        aside.append((row, key, text, unreadable(text), "row left out"))
    return structure.astype(object).where(structure.notna(), None)


def _numbers(
    cells: "pd.Series[str]", column: str, structure: "pd.Series[str]", aside: SetAside, asked: bool
) -> "pd.Series[float] | None":
    """Return the column as numbers, or None if the whole column is left out."""
    filled = cells[~cells.str.lower().isin(_EMPTY)]
    for row, text in cells[cells.str.lower().isin(_EMPTY - {""})].items():
        aside.append((row, column, text, "stands for no value", "cell taken as empty"))
    if filled.empty:
        aside.append(("", column, "", "the column is empty", "column left out"))
        return None
    values = pd.to_numeric(filled, errors="coerce")
    if values.isna().mean() > 0.5:
        reason = f"{int(values.isna().sum())} of {len(filled)} cells are text, e.g. {filled[values.isna()].iloc[0]!r}"
        if asked:
            raise DataError(f"column {column!r} is not numeric: {reason}")
        aside.append(("", column, "", reason, "column left out"))
        return None
    for row, text in filled[~np.isfinite(values)].items():
        reason = "not a number" if np.isnan(values[row]) else "not finite"
        aside.append((row, column, text, reason, "cell left out"))
    kept: pd.Series[float] = values[np.isfinite(values) & structure.reindex(values.index).notna()].astype(float)
    return kept


def _merge(
    smiles: "pd.Series[str]", structure: "pd.Series[str]", labels: "dict[str, pd.Series[float]]", aside: SetAside
) -> pd.DataFrame:
    """Return one row for each molecule, in order of first appearance, with the median if it has several values."""
    first = list(dict.fromkeys(structure.dropna()))
    merged = pd.DataFrame(index=pd.Index(first, name="smiles"), columns=list(labels), dtype=float)
    for column, values in labels.items():
        groups = values.groupby(structure.reindex(values.index))
        merged[column] = groups.median().reindex(first)
        for _, group in groups:
            if group.nunique() > 1:
                where = ", ".join(f"line {row}: {value:g}" for row, value in group.items())
                row = group.index[0]
                reason = f"the same molecule with different values ({where})"
                aside.append((row, column, str(smiles[row]), reason, "median taken"))
    return merged


def _task(column: str) -> Task:
    match = _UNIT.match(column)
    if match and match["name"]:
        return Task(match["name"], match["name"], (match["square"] or match["round"] or "").strip())
    return Task(column, column, "")
