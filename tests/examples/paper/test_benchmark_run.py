"""The folder of a finished `gate benchmark`: what is read, faults that are named, and runs of earlier versions."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import stability
import torch
from paper_studies.benchmark_run import BenchmarkRun
from typer.testing import CliRunner
from typer.testing import Result as CliResult

from bilevel_hpo.run_folder import RunError, write_json
from gate_model.cli.app import app
from gate_model.data.files.user_csv import read_csv
from gate_model.training.settings import Settings
from tests.examples.paper.finished_benchmark import COMMAND, result, write_benchmark
from tests.examples.paper.script import script

TASKS = ("HV", "BP", "CT")


def gate(*options: object) -> CliResult:
    return CliRunner().invoke(app, [*map(str, options)])


def benchmark(folder: Path, methods: str, *options: object) -> CliResult:
    common = ("--smiles-column", "structure", "--split", "random", "--epochs", 1, "--seeds", 2, "--workers", 1)
    where = ("--data", folder / "my.csv", "--out", folder / "run", "--methods", methods)
    return gate("benchmark", *where, *common, *options)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of two seeds and one epoch on 60 molecules with three made-up labels."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("benchmark")
    smiles = [start + "C" * n for start in ("O", "N", "c1ccccc1", "") for n in range(3, 18)]
    values = np.random.default_rng(0).standard_normal((len(smiles), len(TASKS)))
    pd.DataFrame(values, columns=list(TASKS)).assign(structure=smiles).to_csv(folder / "my.csv", index=False)
    assert benchmark(folder, "budget,lambda=1").exception is None
    return folder / "run"


def edited(folder: Path, name: str, **changes: object) -> Path:
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    write_json(folder / name, content | changes)
    return folder


def test_a_run_is_read_by_method_and_seed(run: Path) -> None:
    found = BenchmarkRun(run)
    assert found.tasks == TASKS
    assert found.methods == ("budget", "lambda=1")
    assert found.learned == ("budget",)
    assert [each.seed for each in found.results("lambda=1")] == [0, 1]
    one = found.results("budget")[1]
    assert (one.lambda_.shape, one.trajectory.shape, one.curve.shape) == ((1, 3, 3), (2, 3, 3), (1,))
    np.testing.assert_allclose(one.trajectory[-1], one.lambda_[0], atol=1e-4)
    assert one.val_rmse.mean() == pytest.approx(one.curve[-1])
    recorded = json.loads((run / "results.json").read_text(encoding="utf-8"))["methods"][0]
    assert (recorded["name"], [recorded["test"][task][1] for task in TASKS]) == ("budget", one.test_rmse.tolist())
    assert found.settings == Settings(epochs=1)
    table = read_csv(run.parent / "my.csv", smiles_column="structure")
    assert found.checked(table) is table
    assert not np.array_equal(found.split(table, 0).train, found.split(table, 1).train)
    with pytest.raises(RunError, match=r"another table: tasks \['HV', 'BP', 'CT'\] there, \['HV', 'BP'\] here"):
        found.checked(table.select(["HV", "BP"]))


def test_the_data_are_found_again_as_they_were_chosen(run: Path, tmp_path: Path) -> None:
    """Under the name of the SMILES column too, which the run's config.json holds."""
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert (config["derived"], config["join"], config["smiles_column"]) == (False, None, "structure")
    assert script(stability.main, run, "--out", tmp_path / "out").exception is None


def test_what_is_missing_is_named_with_the_command_that_adds_it(tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path / "a run", [result(m, 0, [0.1, 0.2, 0.3]) for m in ("lambda=1", "budget")])
    assert COMMAND == "gate benchmark --tasks all --methods lambda=1 --out elsewhere --seeds 2"
    run = BenchmarkRun(folder)
    ending = f"--out '{folder}' --resume"
    assert str(run.lacks("free", methods=["free"])) == (
        f"{folder} lacks free; this adds it and trains nothing twice:\n"
        f"gate benchmark --tasks all --seeds 2 --methods lambda=1,budget,free {ending}"
    )
    assert str(run.lacks("a seed", seeds=3)).endswith(
        f"\ngate benchmark --tasks all --methods lambda=1,budget --seeds 3 {ending}"
    )
    edited(folder, "results.json", command="gate benchmark --seeds=2 --methods=x --resume")
    assert str(run.lacks("a seed", seeds=3)).endswith(f"\ngate benchmark --methods lambda=1,budget --seeds 3 {ending}")


def test_what_is_no_finished_run_of_this_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"config\.json is missing"):
        BenchmarkRun(tmp_path)
    write_json(tmp_path / "config.json", {"command": "compare"})
    with pytest.raises(RunError, match="a run of `gate compare`; it must be one of `gate benchmark`"):
        BenchmarkRun(tmp_path)
    settings = asdict(Settings())
    write_json(tmp_path / "config.json", {"command": "benchmark", "settings": settings | {"momentum": 0.9}})
    with pytest.raises(RunError, match=r"config\.json: settings of another version: momentum$"):
        BenchmarkRun(tmp_path)
    del settings["relative_losses"]
    edited(tmp_path, "config.json", settings=settings)
    with pytest.raises(RunError, match=r"of another version: relative_losses$"):
        BenchmarkRun(tmp_path)
    edited(tmp_path, "config.json", settings=settings | {"relative_losses": True})
    with pytest.raises(RunError, match="has not finished; repeat the command with --resume"):
        BenchmarkRun(tmp_path)


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path, [result("budget", 0, [0.1, 0.2, 0.3])])
    path = folder / "jobs" / "budget-seed0-0.json"
    path.write_text(path.read_text().replace("0.2", "0.3"))
    with pytest.raises(RunError, match=r"budget-seed0-0\.json is damaged: .*checksum"):
        BenchmarkRun(folder).results("budget")
    write_json(path, {"method": "budget", "rmse": 1})
    with pytest.raises(RunError, match=r"budget-seed0-0\.json is damaged"):
        BenchmarkRun(folder).results("budget")


def test_a_run_of_an_earlier_version_is_named(tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path, [result("budget", 0, [0.1, 0.2, 0.3])])
    edited(folder, "results.json", methods=[{"name": "budget", "test_rmse": {}}], versions={"bilevel-hpo": "0.0.9"})
    with pytest.raises(
        RunError, match=r"by bilevel-hpo 0\.0\.9 in a format that is no longer read; .*: gate benchmark"
    ):
        BenchmarkRun(folder)
