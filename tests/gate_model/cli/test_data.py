"""`gate data`."""

from pathlib import Path

import pandas as pd
import pytest

from tests.gate_model.gate_command import gate
from tests.gate_model.make_messy import write


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "my.csv"
    write(path)
    return path


@pytest.mark.usefixtures("chemicals_table")
def test_data_describe_compares_with_the_paper_and_names_the_missing_tasks(tmp_path: Path) -> None:
    done = gate("data", "describe", "--overlaps", tmp_path / "overlaps.csv")
    text = " ".join(done.stdout.split())
    for fact in (
        "density of the liquid at 298.15 K",
        "g/cm3",
        "3079",
        "22901",
        "MVL",
        "shares most",
        "PKA (acidic pKa)",
    ):
        assert fact in text
    for missing in ("AS", "IP", "PKA", "AW", "HF", "HM", "LM", "MAS"):
        assert f"{missing} (" in text
    assert "POL" not in text
    assert "--derived" in text
    overlaps = pd.read_csv(tmp_path / "overlaps.csv", index_col="task")
    assert overlaps.shape == (28, 28)
    assert (overlaps.to_numpy() == overlaps.to_numpy().T).all()


@pytest.mark.usefixtures("chemicals_table")
def test_data_build_writes_the_table_and_the_source_of_every_label(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("smiles,BP,HC\nOCC,351.5,-1367\n")
    gate("data", "build", "--tasks", "BP,POL", "--derived", "--join", mine, "--out", tmp_path / "t.csv")
    written = pd.read_csv(tmp_path / "t.csv").set_index("smiles")
    origin = pd.read_csv(tmp_path / "t.provenance.csv")
    assert list(written.columns) == ["BP", "POL"]
    assert len(origin) == written.notna().sum().sum()
    assert set(origin["kind"]) == {"tabulated", "mixed", "derived", "user"}
    for smiles, task, value in origin[["smiles", "task", "value"]].iloc[::500].itertuples(index=False, name=None):
        assert written.loc[smiles, task] == value


def test_data_describe_of_a_users_file(messy: Path) -> None:
    done = gate("data", "describe", "--data", messy)
    assert "from my.csv" in done.stdout
    assert "RDKit cannot read" in done.stderr
    refused = gate("data", "describe", "--data", messy, "--derived", check=False)
    assert (refused.returncode, "--derived works with --data chemicals only" in refused.stderr) == (2, True)
