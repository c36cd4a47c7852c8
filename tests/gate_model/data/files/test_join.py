from pathlib import Path

import numpy as np
import pytest

from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.files.join import load_joined
from gate_model.data.files.user_csv import read_csv
from gate_model.data.table import DataError, PropertyTable

NEW = "CC(=O)Nc1ccc(CC(=O)OCC(F)(F)F)cc1"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """pKa of 12 acids, one boiling point that differs from the library's, one the same, one molecule of my own."""
    path = tmp_path / "mine.csv"
    rows = [f"{'C' * n}C(=O)O,{4.5 + 0.01 * n},," for n in range(1, 13)]
    rows += ["OCC,15.9,400,", f"{NEW},,512.5,7", "C,,111.66719,"]
    path.write_text("smiles,pka,bp [K],note\n" + "\n".join(rows) + "\n")
    return path


def label(table: PropertyTable, smiles: str, task: str) -> float:
    return float(table.labels[table.smiles.index(smiles), table.abbreviations.index(task)])


@pytest.mark.usefixtures("chemicals_table")
def test_tasks_and_molecules_join_by_abbreviation_and_canonical_smiles(mine: Path) -> None:
    library = load_chemicals(["BP", "DS"])
    table = load_joined(mine, ["DS", "BP", "PKA"])
    assert table.abbreviations == ("DS", "BP", "PKA")
    assert table.source == f"{library.source} + mine.csv"
    pka = table.tasks[2]
    assert (pka.name, pka.kind, table.tasks[1].kind) == ("acidic pKa", "user", "mixed")
    assert set(table.smiles) >= set(library.smiles)
    assert label(table, NEW, "BP") == 512.5
    assert label(table, "CC(=O)O", "PKA") == 4.51
    assert label(table, "CC(=O)O", "DS") == label(library, "CC(=O)O", "DS")
    assert np.isfinite(table.labels[:, 1]).sum() == np.isfinite(library.labels[:, 0]).sum() + 1


@pytest.mark.usefixtures("chemicals_table")
def test_the_files_label_is_used_and_the_other_one_listed(mine: Path) -> None:
    table = load_joined(mine, ["BP", "PKA"])
    assert label(table, "CCO", "BP") == 400
    replaced = table.set_aside[table.set_aside["action"] == "the file's value is used"]
    (reason,) = replaced["reason"]
    assert "mine.csv has 400 for CCO" in reason
    assert "(HEOS) has 351.5" in reason
    origin = table.provenance.set_index(["smiles", "task"])
    assert tuple(origin.loc[("CCO", "BP"), ["source", "kind"]]) == ("mine.csv", "user")
    assert origin.loc[("CC(=O)O", "BP"), "kind"] == "tabulated"
    note = table.set_aside[table.set_aside["column"] == "note"]
    assert list(note["reason"]) == ["1 labels; there must be at least 10"]


@pytest.mark.usefixtures("chemicals_table")
def test_without_tasks_all_of_both_are_there(mine: Path) -> None:
    table = load_joined(mine)
    assert table.abbreviations == (*load_chemicals().abbreviations, "PKA")
    assert "HC" in load_joined(mine, derived=True).abbreviations


@pytest.mark.usefixtures("chemicals_table")
def test_a_derived_task_of_the_file_needs_no_flag(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("smiles,HC\nCCO,-1367\nC,-890\n")
    table = load_joined(path, ["HC", "BP"])
    assert np.isfinite(table.labels[:, 0]).sum() == 2
    assert load_joined(path, ["HC"]).smiles == ("CCO", "C")


@pytest.mark.parametrize(
    ("text", "tasks", "message"),
    [
        ("smiles,BP [degC]\nCCO,78\n", None, "'BP' is in 'degC'.*is in 'K' here"),
        ("smiles,BP,bp [K]\nCCO,351,351\n", None, "unit or case: BP"),
        ("smiles,name\nCCO,x\n", None, "no column can be joined; name: 1 of 1 cells are text"),
        ("smiles,BP\nCCO,351\n", ["DS"], "none of DS is a column"),
        ("smiles,BP\nCCO,351\n", ["BP", "XX"], "'XX' is not in the chemicals table"),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path: Path, text: str, tasks: list[str] | None, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_joined(path, tasks)


@pytest.mark.parametrize(
    ("header", "name", "unit"),
    [
        ("VS [log10(mPa·s)]", "VS", "log10(mPa·s)"),
        ("PAR ((mN/m)^0.25·cm3/mol)", "PAR ((mN/m)^0.25·cm3/mol)", ""),
        ("a (b) [K]", "a (b)", "K"),
        ("bp (K)", "bp", "K"),
        ("[K]", "[K]", ""),
    ],
)
def test_units_in_headers(tmp_path: Path, header: str, name: str, unit: str) -> None:
    path = tmp_path / "units.csv"
    rows = [f"{'C' * n},{n},{n * n}" for n in range(1, 31)]
    path.write_text(f"smiles,{header},other\n" + "\n".join(rows))
    task = read_csv(path).tasks[0]
    assert (task.abbreviation, task.unit) == (name, unit)


def test_a_unit_of_the_papers_may_be_written_with_signs(tmp_path: Path, chemicals_table: PropertyTable) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("smiles,VS [log10(mPa·s)],MVL [cm³/mol]\nCCO,0.03,58.6\n")
    table = load_joined(path, ["VS", "MVL"])
    assert [t.unit for t in table.tasks] == [t.unit for t in chemicals_table.select(["VS", "MVL"]).tasks]
