"""`gate learn --data FILE --with chemicals`, as a user meets it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gate_model.data.request import DataRequest
from gate_model.data.splits import scaffold_split
from gate_model.data.table import PropertyTable
from gate_model.predictor.saved_model import load_model
from tests.gate_model.gate_command import gate

OPTIONS = ("--with", "chemicals", "--tasks", "CPS,LF", "--epochs", 3, "--seed", 2)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, chemicals_table: PropertyTable) -> Path:
    """60 real molecules: surface tensions, and viscosities for two thirds of them."""
    table = chemicals_table.select(["ST", "VS"]).with_at_least(2)
    rows = [
        f"{smiles},{st},{'' if n % 3 == 0 else vs}"
        for n, (smiles, (st, vs)) in enumerate(zip(table.smiles[::8][:60], table.labels[::8][:60], strict=True))
    ]
    path = tmp_path_factory.mktemp("with") / "my.csv"
    path.write_text("smiles,tension [mN/m],log visc\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def run(file: Path) -> tuple[Path, str]:
    """The run folder, and what was printed."""
    out = file.parent / "run"
    return out, gate("learn", "--data", file, *OPTIONS, "--out", out).stderr


def numbers(folder: Path) -> Any:
    results = json.loads((folder / "results.json").read_text())
    return [(method["test"], method["lambda"]) for method in results["methods"]]


def test_it_says_what_joins_and_what_it_bought(run: tuple[Path, str]) -> None:
    out, said = run
    assert "2 public properties of" in said
    assert "molecules join 2 of my.csv: CPS, LF" in said
    assert "of the file's 60 molecules are in the public table" in said
    assert "few validation labels to learn λ from (tension 6, log visc" in said
    found = pd.read_csv(out / "with_public.csv")
    assert list(found["column"]) == ["tension", "log visc"]
    assert all(sentence in said for sentence in found["sentence"])
    page = (out / "report.html").read_text()
    assert "What the public table bought" in page
    assert found["sentence"][0].split(":")[0] in page
    assert "What the public table bought" not in (out / "alone" / "report.html").read_text()


def test_both_are_judged_on_the_test_molecules_of_the_file_alone(run: tuple[Path, str], file: Path) -> None:
    out, _ = run
    own = DataRequest(str(file)).load()
    split = scaffold_split(own.smiles, own.labels, seed=2)
    test = {own.smiles[row] for row in split.test}
    found = pd.read_csv(out / "with_public.csv").set_index("column")
    for folder, column in ((out / "alone", "test_alone"), (out, "test_joined")):
        rows = pd.read_csv(folder / "predictions.csv")
        for task in own.abbreviations:
            of_task = rows[(rows["task"] == task) & rows["smiles"].isin(test)]
            assert len(of_task) == found.loc[task, "test_labels"]
            rmse = float(np.sqrt(((of_task["y_pred"] - of_task["y_true"]) ** 2).mean()))
            assert found.loc[task, column] == pytest.approx(rmse, rel=1e-5)
    chosen = found["selection_joined"] < found["selection_alone"]
    assert list(found["chosen"]) == ["joined" if each else "alone" for each in chosen]
    assert json.loads((out / "choice.json").read_text()) == found["chosen"].to_dict()


def test_alone_is_the_training_on_the_file_alone(run: tuple[Path, str], file: Path, tmp_path: Path) -> None:
    gate("learn", "--data", file, "--epochs", 3, "--seed", 2, "--out", tmp_path / "alone")
    assert numbers(tmp_path / "alone") == numbers(run[0] / "alone")


def test_predict_gives_the_columns_of_the_file(run: tuple[Path, str], file: Path, tmp_path: Path) -> None:
    gate("predict", run[0], file, "--out", tmp_path / "own.csv")
    found = pd.read_csv(tmp_path / "own.csv")
    assert {"tension [mN/m]", "log visc"} <= set(found)
    assert not [name for name in map(str, found) if name.startswith(("CPS", "LF"))]
    gate("predict", run[0] / "joined", file, "--out", tmp_path / "joined.csv")
    assert {"CPS [J/mol/K]", "LF [K]", "tension [mN/m]"} <= set(pd.read_csv(tmp_path / "joined.csv"))


def test_a_run_goes_on_from_its_checkpoints(run: tuple[Path, str], file: Path, tmp_path: Path) -> None:
    """As if it had been killed while the joined model was trained."""
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    for path in out.rglob("*"):
        if path.is_file() and path not in (out / "config.json", out / "alone" / "checkpoint.pt"):
            path.unlink()
    gate("learn", "--data", file, *OPTIONS, "--out", out, "--resume")
    for name in ("with_public.csv", "choice.json", "predictions.csv", "ratios.csv", "alone/predictions.csv"):
        assert (out / name).read_bytes() == (run[0] / name).read_bytes()
    assert numbers(out) == numbers(run[0])
    refused = gate("learn", "--data", file, "--epochs", 3, "--seed", 2, "--out", out, "--resume", check=False)
    assert refused.returncode != 0
    assert "with was 'chemicals', now absent" in refused.stderr


def test_a_single_column_and_several_seeds(file: Path, tmp_path: Path) -> None:
    gate("learn", "--data", file, *OPTIONS, "--tasks", "tension", "--seeds", 2, "--out", tmp_path / "one")
    found = pd.read_csv(tmp_path / "one" / "with_public.csv")
    assert list(found["column"]) == ["tension"]
    model = load_model(tmp_path / "one")
    assert model.own is not None
    assert [len(each.members) for each in (model, model.own.alone)] == [2, 2]
    assert [len(each.tasks) for each in (model, model.own.alone)] == [3, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--with", "chemicals"), "--with chemicals is for --data FILE.csv"),
        (("--data", "FILE", "--with", "chemicals", "--derived"), "--derived works with --data chemicals only"),
        (("--data", "FILE", "--with", "chemicals", "--tasks", "tensions,CPS"), "no column 'tensions'"),
    ],
)
def test_errors_come_before_any_work(arguments: tuple[str, ...], message: str, file: Path, tmp_path: Path) -> None:
    given = [file if each == "FILE" else each for each in arguments]
    done = gate("learn", *given, "--out", tmp_path / "run", check=False)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()
