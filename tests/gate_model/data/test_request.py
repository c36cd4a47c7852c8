"""One record says what data a run uses: it loads them, names them in config.json, and loads the same again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gate_model.data.request import DataRequest
from gate_model.data.splits import fewer, random_split, scaffold_split
from gate_model.data.table import DataError, PropertyTable

ALKANES = ["C" * length for length in range(1, 31)]


def write(path: Path, *columns: str) -> Path:
    """30 molecules with a label in each of the columns."""
    header = ",".join(["smiles", *(f'"{column}"' for column in columns)])
    rows = (",".join([smiles, *(str(n + place) for place in range(len(columns)))]) for n, smiles in enumerate(ALKANES))
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def same(one: PropertyTable, other: PropertyTable) -> bool:
    return ((one.tasks, one.smiles, one.source) == (other.tasks, other.smiles, other.source)) and np.array_equal(
        one.labels, other.labels, equal_nan=True
    )


@pytest.mark.usefixtures("chemicals_table")
@pytest.mark.parametrize("at_least", [1, 2])
@pytest.mark.parametrize("tasks", [None, ("BP", "POL")])
def test_the_identity_of_a_run_loads_its_table_again(
    tasks: tuple[str, ...] | None, at_least: int, tmp_path: Path
) -> None:
    mine = write(tmp_path / "mine.csv", "BP", "extra")
    request = DataRequest(
        tasks=tasks, at_least=at_least, derived=True, join=str(mine), splitting="random", fraction=0.5
    )
    table = request.load()
    identity = json.loads(json.dumps(request.identity(table)))
    again = DataRequest.from_identity(identity)
    assert same(again.load(), table)
    assert again.identity(again.load()) == identity


def test_the_identity_of_a_users_file_names_the_columns_that_were_used(tmp_path: Path) -> None:
    path = write(tmp_path / "my.csv", "bp [K]", "logD, pH 7.4")
    request = DataRequest(str(path))
    table = request.load()
    identity = request.identity(table)
    assert identity["tasks"] == ["bp", "logD, pH 7.4"]
    assert same(DataRequest.from_identity(identity).load(), table)


def test_the_split_is_of_the_kind_and_size_that_is_asked_for(tmp_path: Path) -> None:
    table = DataRequest(str(write(tmp_path / "my.csv", "a", "b"))).load()
    whole = scaffold_split(table.smiles, table.labels, seed=3)
    assert np.array_equal(DataRequest().split(table, 3).train, whole.train)
    half = DataRequest(splitting="random", fraction=0.5).split(table, 3)
    expected = fewer(random_split(table.labels, seed=3), table.labels, 0.5, seed=3)
    assert half.sizes() == expected.sizes() == {"train": 10, "validation": 2, "selection": 3, "test": 3}
    assert np.array_equal(half.train, expected.train)


@pytest.mark.parametrize("request_", [DataRequest("my.csv", derived=True), DataRequest("my.csv", join="x.csv")])
def test_options_of_chemicals_are_refused_for_a_file(request_: DataRequest) -> None:
    with pytest.raises(DataError, match=r"works with --data chemicals only; got --data my\.csv"):
        request_.load()


@pytest.mark.usefixtures("chemicals_table")
def test_a_comma_that_split_a_name_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "my.csv", "BP", "logD, pH 7.4")
    hint = r"""the comma in 'logD, pH 7\.4' must be protected by quotes: --tasks '"logD, pH 7\.4"'"""
    with pytest.raises(DataError, match=hint):
        DataRequest(str(path), ("BP", "pH 7.4")).load()
    with pytest.raises(DataError, match=hint):
        DataRequest(join=str(path), tasks=("BP", "logD")).load()
    assert DataRequest(str(path), ("logD, pH 7.4", "BP")).load().abbreviations == ("logD, pH 7.4", "BP")


SCRIPT = """
import os
from gate_model.data.molecules.features import compute_features
from gate_model.data.prepared import prepare
from gate_model.data.request import DataRequest

os.cpu_count = lambda: 2
table = DataRequest("many.csv").load()
calls = []
data = prepare(table, seed=0, progress=lambda done, all: calls.append((done, all)))
print(calls == [(200, 600), (400, 600), (600, 600)], len(data.molecules))
one_by_one = [compute_features([smiles])[0] for smiles in table.smiles[195:205]]
print((compute_features(table.smiles)[195:205] == one_by_one).all())
"""


def test_a_plain_script_without_a_guard_prepares_many_molecules_in_several_processes(tmp_path: Path) -> None:
    molecules = [f"{'C' * a}O{'C' * b}N{'C' * c}" for a in range(1, 11) for b in range(1, 11) for c in range(1, 7)]
    rows = "".join(f"{smiles},{n % 7},{n % 11}\n" for n, smiles in enumerate(molecules))
    (tmp_path / "many.csv").write_text(f"smiles,a,b\n{rows}")
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {"GATE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.stdout.split() == ["True", "600", "True"], done.stderr
