from pathlib import Path

import numpy as np
import pytest

from gate_model.data.files.molecule_file import MoleculeFile
from gate_model.data.files.user_csv import read_csv
from gate_model.data.table import DataError, PropertyTable
from tests.gate_model.make_messy import BAD, write


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    path = tmp_path / "my.csv"
    write(path)
    return path


def reasons(table: PropertyTable, **where: object) -> list[str]:
    frame = table.set_aside
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return list(frame["reason"])


def test_every_fault_is_named_with_its_line(messy: Path) -> None:
    table = read_csv(messy)
    assert table.abbreviations == ("bp", "ds")
    assert [task.unit for task in table.tasks] == ["K", ""]
    unreadable = table.set_aside[table.set_aside["reason"] == "RDKit cannot read this SMILES"]
    assert dict(zip(unreadable["row"], unreadable["value"], strict=True)) == BAD
    assert reasons(table, row=12, column="ds") == ["not a number"]
    assert reasons(table, row=13, column="ds") == ["not finite"]
    assert reasons(table, row=14, column="bp [K]") == ["stands for no value"]
    assert reasons(table, column="empty") == ["the column is empty"]
    assert (
        reasons(table, column="rare") == ["3 labels; there must be at least 10"]
        or "labels" in reasons(table, column="rare")[0]
    )
    assert "text" in reasons(table, column="Name")[0]


def test_duplicates_take_the_median_and_are_listed_with_all_lines(messy: Path) -> None:
    table = read_csv(messy)
    bp = table.labels[table.smiles.index("CCO"), 0]
    values = [301 + 7.5, 358 + 7.5 * 8, 359 + 7.5 * 9]
    assert bp == pytest.approx(np.median(values))
    (reason,) = reasons(table, action="median taken", column="bp [K]", row=3)
    assert all(f"line {line}" in reason for line in (3, 60, 61))


def test_no_row_is_dropped_silently(messy: Path) -> None:
    table = read_csv(messy)
    rows = len(messy.read_text().splitlines()) - 1
    left_out = (table.set_aside["action"] == "row left out").sum()
    duplicates = 2
    assert rows == len(table.smiles) + left_out + duplicates
    assert reasons(table, row=14, column="SMILES") == ["no label in any column that is used"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a CSV"),
        ("smiles,a\n", "no row below"),
        ("a,b\n1,2\n", "no column is called smiles"),
        ("smiles,a,a\nC,1,2\n", "more than once"),
        ("smiles,a,b\nC,1,2,3\n", "line 2: 4 cells"),
        ("smiles,a,b\nCC,1,2\nCCC,2,3\n", "usable task"),
        ("SMILES_a,SMILES_b,x\nC,C,1\n", "could all be SMILES"),
    ],
)
def test_hopeless_files_are_refused_before_any_work(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_csv(path)


def test_missing_file_and_misspelt_task(tmp_path: Path, messy: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match="did you mean 'ds'"):
        read_csv(messy, tasks=["bp", "dss"])
    with pytest.raises(DataError, match="'Name' is not numeric"):
        read_csv(messy, tasks=["bp", "Name"])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_and_byte_order_mark(tmp_path: Path, messy: Path, delimiter: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text("\ufeff" + messy.read_text().replace(",", delimiter), encoding="utf-8")
    np.testing.assert_array_equal(read_csv(path).labels, read_csv(messy).labels)


def test_a_molecule_file_keeps_every_row(messy: Path) -> None:
    file = MoleculeFile(messy)
    rows = [row for chunk in file.chunks(7) for row in chunk]
    assert len(rows) == file.count() == 60
    assert [row.line for row in rows if row.problem] == list(BAD)
