"""The command `gate` as a user calls it, in processes of its own: files, kills and resumes, errors."""

import importlib
import inspect
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from distributed import LocalCluster
from typer.testing import CliRunner

from bilevel_hpo import search
from gate_model.cli.app import app
from gate_model.cli.predict import predict
from gate_model.data.molecules.features import features
from gate_model.predictor.intervals import COVERAGE
from gate_model.predictor.saved_model import SavedModel, load_model
from tests.gate_model.gate_command import ENVIRONMENT, gate
from tests.gate_model.make_messy import write


def killed(watched: Path, lines: int, *arguments: object) -> None:
    """Start a command and SIGKILL it once `watched` has grown to `lines` occurrences of a newline or exists."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gate_model", *map(str, arguments)], env=ENVIRONMENT, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        if watched.exists() and watched.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL, "the command ended before it could be killed"


def table(folder: Path) -> dict[str, object]:
    """Everything in results.json that must not depend on where the run was done and how often it was interrupted."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    for method in results["methods"]:
        del method["wall_s"], method["cpu_s"]
    del results["command"]
    return results


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "my.csv"
    write(path)
    return path


@pytest.fixture(scope="module")
def learned(messy: Path) -> Path:
    folder = messy.parent / "learned"
    gate("learn", "--data", messy, "--out", folder, "--epochs", 40)
    return folder


@pytest.fixture(scope="module")
def ensemble(messy: Path) -> Path:
    folder = messy.parent / "ensemble"
    options = ("--seeds", 2, "--patience", 3, "--schedule", "one-cycle", "--precision", "bfloat16")
    gate("learn", "--data", messy, "--out", folder, "--epochs", 12, *options)
    return folder


def test_a_training_that_stops_before_lambda_moves_says_so(messy: Path, tmp_path: Path) -> None:
    options = ("learn", "--data", messy, "--out", tmp_path / "run", "--patience", 1)
    said = gate(*options, "--epochs", 400).stderr
    assert "before λ moved; λ starts to move after 25% of --epochs 400" in " ".join(said.split())


def test_learn_on_a_file_nobody_prepared(learned: Path) -> None:
    aside = pd.read_csv(learned / "set_aside.csv")
    assert (aside["reason"] == "RDKit cannot read this SMILES").sum() == 5
    results = json.loads((learned / "results.json").read_text())
    assert results["tasks"] == ["bp", "ds"]
    assert results["data"]["set_aside"] == len(aside)
    files = {path.name for path in learned.iterdir()}
    wanted = "config.json results.json ratios.csv history.csv predictions.csv set_aside.csv checkpoint.pt report.html"
    assert files >= {*wanted.split(), "outer_steps.csv", "model.json", "model.safetensors", "model_card.md"}
    history = pd.read_csv(learned / "history.csv")
    assert {"epoch", "selection", "lr", "lambda_mean", "lambda_min", "lambda_max", "lambda_small"} <= set(history)
    outer = pd.read_csv(learned / "outer_steps.csv")
    assert {"method", "seed", "outer_step", "certificate", "computed_in", "certified"} <= set(outer)
    assert list(outer["epoch"]) == list(range(11, 41)), "once an epoch after a quarter of the training"
    (said,) = results["methods"][0]["signal"]
    assert (said["tested"], said["steps"]) == (4, 30)
    page = (learned / "report.html").read_text(encoding="utf-8")
    assert f"{said['told']} of 4 λ, direct paths included, can be told from chance, in 30 outer steps" in page
    assert "of 30 outer steps the hypergradient was computed again in float64" in page


def test_the_model_card_says_what_a_user_must_know(learned: Path, messy: Path) -> None:
    card = (learned / "model_card.md").read_text()
    results = json.loads((learned / "results.json").read_text())
    for fact in (
        "bp [K]",
        messy.name,
        f"| train | {results['split']['train']} |",
        results["split"]["method"],
        "| weight_decay | 0.0001 |",
        f"| torch | {results['versions']['torch']} |",
        results["methods"][0]["title"],
        f"{results['methods'][0]['test']['bp'][0]:.4f}",
        f"{results['methods'][0]['test_units']['bp'][0]:.4g}",
        "Use and limits",
        "| within the 90 % interval |",
        "% of the test labels are inside, mean over tasks",
    ):
        assert fact in card, fact


def test_an_ensemble_of_seeds(ensemble: Path, tmp_path: Path) -> None:
    model = load_model(ensemble)
    assert model.seeds == (0, 1)
    assert model.spread.kind == "members"
    assert model.settings.precision == "bfloat16"
    results = json.loads((ensemble / "results.json").read_text())
    assert results["methods"][0]["seeds"] == [0, 1]
    assert {path.name for path in ensemble.glob("checkpoint*")} == {"checkpoint-seed0.pt", "checkpoint-seed1.pt"}
    path = tmp_path / "new.csv"
    path.write_text("smiles\nCCO\n")
    gate("predict", ensemble, path)
    x = model.featurizer(["CCO"], features(["CCO"]))
    members = [model.standardizer.inverse(member(x).detach().double().numpy())[0, 0] for member in model.members]
    row = pd.read_csv(tmp_path / "new.predicted.csv").iloc[0]
    assert row["bp ± [K]"] > 0
    assert row["bp [K]"] == pytest.approx(sum(members) / 2, abs=0.1 * row["bp ± [K]"])


def test_learn_killed_and_resumed_equals_an_uninterrupted_run(messy: Path, learned: Path, tmp_path: Path) -> None:
    arguments = ("learn", "--data", messy, "--out", tmp_path / "run", "--epochs", 40, "--checkpoint-minutes", 0)
    killed(tmp_path / "run" / "checkpoint.pt", 0, *arguments)
    assert "--resume" in gate(*arguments, check=False).stderr
    gate(*arguments, "--resume")
    assert table(tmp_path / "run") == table(learned)
    for file in ("ratios.csv", "ratios_history.csv", "predictions.csv", "model.safetensors", "model.json"):
        assert (tmp_path / "run" / file).read_bytes() == (learned / file).read_bytes()


def test_grid_killed_and_resumed_equals_an_uninterrupted_run(messy: Path, tmp_path: Path) -> None:
    arguments = ("grid", "--data", messy, "--epochs", 10, "--values", "0,0.2,0.4,0.6,0.8,1")
    arguments += ("--population", 1, "--out")  # a population is trained again as a whole
    gate(*arguments, tmp_path / "whole")
    killed(tmp_path / "cut" / "jobs" / "grid-seed0.journal", 5, *arguments, tmp_path / "cut")  # two points of six
    assert "--resume" in gate(*arguments, tmp_path / "cut", check=False).stderr
    gate(*arguments, tmp_path / "cut", "--resume")
    assert table(tmp_path / "cut") == table(tmp_path / "whole")
    columns = ["bp|ds", "selection"]
    whole, cut = (pd.read_csv(tmp_path / name / "trials.csv")[columns] for name in ("whole", "cut"))
    assert whole.equals(cut)
    assert len(cut) == 6


def test_tpe_in_a_storage_of_several_searches(messy: Path, tmp_path: Path) -> None:
    storage = tmp_path / "shared" / "journal"
    arguments = ("tpe", "--data", messy, "--epochs", 6, "--epoch-budget", 40, "--prune", "--storage", storage)
    gate(*arguments, "--out", tmp_path / "first")
    assert (tmp_path / "first" / "report.html").exists()
    gate(*arguments, "--out", tmp_path / "second")
    assert table(tmp_path / "second") == table(tmp_path / "first"), "every trial is in the storage"
    backend = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(storage)))
    study = optuna.load_study(study_name="tpe-seed0", storage=backend)
    trials = search.trials(study)
    assert 40 <= search.epochs_used(study) < 46
    assert all(1 <= (trial.last_step or 0) <= 6 for trial in trials)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert list(pd.read_csv(tmp_path / "first" / "trials.csv")["selection"]) == [trial.value for trial in complete]
    for option, value, message in (("--high", 0.9, "0.9"), ("--at-least", 2, "about.molecules was 52, now 36")):
        refused = gate(*arguments, option, value, "--out", tmp_path / "third", check=False)
        assert refused.returncode == 2
        assert message in refused.stderr
        shutil.rmtree(tmp_path / "third")
    gate(*arguments, "--seed", 1, "--out", tmp_path / "third")
    assert {one.study_name for one in backend.get_all_studies()} == {"tpe-seed0", "tpe-seed1"}


def test_predict_keeps_every_row_and_names_what_it_cannot_read(learned: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("smiles\nCCO\nnonsense\nCCCCCO\n")
    gate("predict", learned, path)
    frame = pd.read_csv(tmp_path / "new.predicted.csv")
    columns = ["row", "smiles", "bp [K]", "bp ± [K]", "bp low [K]", "bp high [K]", "ds", "ds ±", "ds low", "ds high"]
    columns += ["similarity", "nearest training molecule", "unlike training", "problem"]
    assert list(frame.columns) == columns
    assert list(frame["row"]) == [2, 3, 4]
    assert frame["bp [K]"].isna().tolist() == [False, True, False]
    assert 250 < frame["bp [K]"].iloc[0] < 700, "in kelvin, not standardised"


def test_predict_gives_intervals_of_the_coverage_asked_for(learned: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("smiles\nCCO\n")
    said = gate("predict", learned, path).stderr
    assert "unbounded intervals: 0.9 of the labels inside needs 9 selection labels" in said, "52 molecules: 5 or 6"
    assert np.isposinf(pd.read_csv(tmp_path / "new.predicted.csv")["bp high [K]"]).all()
    assert "unbounded" not in gate("predict", learned, path, "--coverage", 0.5).stderr
    row = pd.read_csv(tmp_path / "new.predicted.csv").iloc[0]
    assert row["bp low [K]"] < row["bp [K]"] < row["bp high [K]"] < 2000
    refused = gate("predict", learned, path, "--coverage", 1, check=False)
    assert (refused.returncode, "coverage=1.0: it must be above 0 and below 1" in refused.stderr) == (2, True)
    assert inspect.signature(predict).parameters["coverage"].default == COVERAGE


def test_an_embedding_of_ones_own_is_named_trained_saved_and_loaded(messy: Path, tmp_path: Path) -> None:
    own = "tests.gate_model.own_embedding"
    gate("learn", "--data", messy, "--embedding", f"{own}:linear", "--epochs", 1, "--out", tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "model.json").read_text())
    assert facts["settings"]["network"]["embedding"] == "own-linear"
    path = tmp_path / "new.csv"
    path.write_text("smiles\nCCO\n")
    refused = gate("predict", tmp_path / "run", path, check=False)
    assert (refused.returncode, "no embedding is called 'own-linear'" in refused.stderr) == (2, True)
    gate("predict", tmp_path / "run", path, "--embedding", own)
    model = loaded_with_own(tmp_path / "run")
    x = model.featurizer(["CCO"], features(["CCO"]))
    (member,) = model.members
    assert type(member.embedding) is torch.nn.Linear
    value = model.standardizer.inverse(member(x).detach().double().numpy())[0, 0]
    found = pd.read_csv(tmp_path / "new.predicted.csv").iloc[0]
    assert found["bp [K]"] == pytest.approx(value, abs=0.1 * found["bp ± [K]"])


def loaded_with_own(folder: Path) -> SavedModel:
    """The model of a run, in a process in which its embedding is registered."""
    importlib.import_module("tests.gate_model.own_embedding")
    return load_model(folder)


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ("none", "no embedding is called 'none'; known are fingerprint, graph"),
        ("tests.gate_model.own_embedding:not_registered", "decorated with gate_model.register_embedding"),
        ("tests.gate_model.own_embedding:missing", "'missing' of this module must be a function"),
        ("no_such_module:build", "--embedding no_such_module: No module named 'no_such_module'"),
    ],
)
def test_an_embedding_that_is_not_there_is_named(embedding: str, message: str, messy: Path, tmp_path: Path) -> None:
    refused = gate("learn", "--data", messy, "--embedding", embedding, "--out", tmp_path / "run", check=False)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert not (tmp_path / "run").exists()


def test_a_task_with_a_comma_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    rows = "".join(f"{'C' * n},{n},{n * n},{-n}\n" for n in range(1, 31))
    path.write_text(f'smiles,"logD, pH 7.4",BP,other\n{rows}')
    arguments = ("data", "build", "--data", path, "--out", tmp_path / "t.csv", "--tasks")
    for tasks in (('"logD, pH 7.4", BP',), ("BP", "--tasks", '"logD, pH 7.4"')):
        gate(*arguments, *tasks)
        assert set(pd.read_csv(tmp_path / "t.csv").columns) == {"smiles", "logD, pH 7.4", "BP"}
    refused = gate(*arguments, "logD, pH 7.4,BP", check=False)
    assert refused.returncode == 2
    assert """the comma in 'logD, pH 7.4' must be protected by quotes: --tasks '"logD, pH 7.4"'""" in refused.stderr


COMPARE = ("compare", "--epochs", 2, "--seeds", 2, "--values", "0,1", "--data")
SAME = ("ratios.csv", "ratios_history.csv", "predictions.csv", "set_aside.csv")


@pytest.fixture(scope="module")
def compared(messy: Path) -> Path:
    """In one process."""
    folder = messy.parent / "compared"
    gate(*COMPARE, messy, "--out", folder, "--workers", 1)
    return folder


def assert_same(folder: Path, other: Path) -> None:
    assert table(folder) == table(other)
    for file in SAME:
        assert (folder / file).read_bytes() == (other / file).read_bytes(), file
    one, two = (pd.read_csv(each / "trials.csv").drop(columns="wall_s") for each in (folder, other))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_compare_puts_every_method_side_by_side(messy: Path, compared: Path) -> None:
    results = json.loads((compared / "results.json").read_text())
    assert [m["name"] for m in results["methods"]] == ["budget", "direct", "lambda=1", "lambda=0", "grid", "tpe"]
    assert [m["training_runs"] for m in results["methods"]] == [1, 1, 1, 1, 2, 2]
    assert [m["group"] for m in results["methods"]] == ["learned"] * 2 + ["constant"] * 2 + ["search"] * 2
    assert (results["control"], results["search"]) == ("lambda=0", {"parameters": ["bp|ds"], "symmetric": True})
    trials = pd.read_csv(compared / "trials.csv")
    assert trials.groupby(["method", "seed"]).size().tolist() == [2, 2, 2, 2]
    winner = trials[(trials["method"] == "grid") & (trials["seed"] == 1)].sort_values("selection").iloc[0]
    grid = next(m for m in results["methods"] if m["name"] == "grid")
    assert grid["lambda"]["per_seed"][1][0][1] == winner["bp|ds"]
    page = (compared / "report.html").read_text(encoding="utf-8")
    for words in ("in units of the direct path", "standardised labels", "beating λ = 1 alone does not show that"):
        assert words in page
    before = table(compared)
    kept = {path: path.stat().st_mtime_ns for path in (compared / "jobs").glob("*.json")}
    gate(*COMPARE, messy, "--out", compared, "--workers", 1, "--resume")
    assert table(compared) == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "nothing is trained again"


def test_compare_killed_and_resumed_in_a_pool_equals_an_uninterrupted_run_in_one_process(
    messy: Path, compared: Path, tmp_path: Path
) -> None:
    arguments = (*COMPARE, messy, "--workers", 2, "--out", tmp_path / "cut")
    killed(tmp_path / "cut" / "jobs" / "grid-seed0-2.json", 0, *arguments)
    assert not (tmp_path / "cut" / "results.json").exists()
    gate(*arguments, "--resume")
    assert_same(tmp_path / "cut", compared)


def test_compare_on_a_dask_cluster_equals_that_in_one_process(messy: Path, compared: Path, tmp_path: Path) -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        gate(*COMPARE, messy, "--dask", cluster.scheduler_address, "--out", tmp_path / "far")
        assert cluster.scheduler.transition_counter >= 20, "a task for each training"
    assert_same(tmp_path / "far", compared)


class AskedError(Exception):
    """Stands for all trainings."""


@pytest.mark.usefixtures("chemicals_table")
@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("gate_model.cli._run", ("compare", "--data", "MESSY")),
        ("gate_model.cli._run", ("grid", "--data", "MESSY")),
        ("gate_model.cli._run", ("tpe", "--data", "MESSY")),
        ("bilevel_hpo.comparison", ("benchmark", "--data", "MESSY", "--split", "random")),
        ("gate_model.experiments.figure_1", ("experiment", "figure-1", "--seeds", "2")),
    ],
    ids=lambda of: of if isinstance(of, str) else of[0],
)
def test_trainings_go_where_dask_says(
    module: str, command: tuple[str, ...], messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, on: object, **__: object) -> None:
        raise AskedError(on)

    monkeypatch.setattr(f"{module}.run_methods", asked)
    arguments = [word.replace("MESSY", str(messy)) for word in command]
    for address in ("tcp://10.0.0.1:8786", None):
        where = [] if address is None else ["--dask", address]
        done = CliRunner().invoke(app, [*arguments, *where, "--out", str(tmp_path / f"{address is None}")])
        assert isinstance(done.exception, AskedError), done.output
        (on,) = done.exception.args
        assert on == address if address else isinstance(on, int)


@pytest.mark.parametrize("command", [("compare",), ("benchmark", "--split", "random")], ids=lambda of: of[0])
def test_one_worker_is_a_process_of_one_thread_as_each_of_several(
    command: tuple[str, ...], messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AskedError(torch.get_num_threads())

    for module in ("gate_model.cli._run", "bilevel_hpo.comparison"):
        monkeypatch.setattr(f"{module}.run_methods", asked)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        done = CliRunner().invoke(app, [*command, "--data", str(messy), "--workers", "1", "--out", str(tmp_path / "x")])
    finally:
        torch.set_num_threads(before)
    assert isinstance(done.exception, AskedError), done.output
    assert done.exception.args == (1,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("learn", "--data", "none.csv", "--out", "x"), "none.csv: no such file"),
        (("learn", "--tasks", "HV,XY", "--out", "x"), "'XY' is not in the chemicals table"),
        (("learn", "--tasks", "HV,BP", "--device", "warp", "--out", "x"), "--device warp"),
        (("grid", "--values", "0.2,a", "--out", "x"), "'0.2,a'"),
        (("grid", "--tasks", "HV,BP", "--prune", "--population", "4", "--out", "x"), "--population 4"),
        (("report", "none"), "none"),
        (("predict", "none", "none.csv"), "none"),
        (("learn", "--patience", "0", "--out", "x"), "--patience"),
        (("compare", "--dask", "10.0.0.1:8786", "--out", "x"), "it must be the address of a Dask scheduler"),
    ],
)
def test_errors_are_one_message_and_come_before_any_work(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = gate(*arguments, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()
