"""stability.py and removal.py on benchmark runs: bad input, files, resuming."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import removal
import stability
import torch
from paper_studies.analysis import write_analysis
from paper_studies.benchmark_run import BenchmarkRun
from paper_studies.meaning.gain import gain_analysis
from paper_studies.meaning.learned_lambda import LearnedLambda, learned_lambdas
from paper_studies.meaning.pair_ranks import off_diagonal
from paper_studies.meaning.removal import train_removals, without
from paper_studies.meaning.stability import stability_analysis
from typer.testing import CliRunner
from typer.testing import Result as CliResult

from bilevel_hpo import DivergedError
from bilevel_hpo.run_folder import RunError, write_json
from gate_model.cli.app import app
from gate_model.data.files.user_csv import read_csv
from gate_model.data.prepared import PreparedData
from gate_model.model.evaluation import predict, rmse
from gate_model.model.settings import NetworkSettings
from gate_model.training.methods import constant
from gate_model.training.settings import Settings
from gate_model.training.train import train
from tests.examples.paper.finished_benchmark import Made, answers_of
from tests.examples.paper.script import script

SMALL = NetworkSettings(embedding_hidden=32, d=16, k=8, hidden=16)
TASKS = ("HV", "BP", "CT", "VP")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def gate(*options: object) -> CliResult:
    return CliRunner().invoke(app, [*map(str, options)])


def write_jobs(folder: Path, method: str, lambdas: list[list[list[float]]], failed: tuple[int, ...] = ()) -> None:
    for path in (folder / "jobs").glob(f"{method}-seed*"):
        path.unlink()
    tasks = TASKS[: len(lambdas[0])]
    answers_of(
        folder,
        [
            Made(method, seed, [0.1] * len(tasks), lambda_=lambda_, failure="diverged" if seed in failed else "")
            for seed, lambda_ in enumerate(lambdas)
        ],
        tasks,
    )


def made_up(folder: Path, tasks: tuple[str, ...] = TASKS) -> Path:
    """A finished run without results."""
    asked = {"command": "benchmark", "data": "chemicals", "tasks": list(tasks), "settings": asdict(Settings())}
    write_json(folder / "config.json", asked)
    write_json(folder / "results.json", {"command": "gate benchmark --seeds 1", "methods": [{"name": "lambda=1"}]})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of two seeds and one epoch on 60 molecules with four made-up labels."""
    folder = tmp_path_factory.mktemp("meaning")
    smiles = [start + "C" * n for start in ("O", "N", "c1ccccc1", "") for n in range(3, 18)]
    values = (
        np.random.default_rng(0).standard_normal((len(smiles), len(TASKS)))
        + np.array([len(s) for s in smiles])[:, None]
    )
    pd.DataFrame(values, columns=list(TASKS)).assign(smiles=smiles).to_csv(folder / "my.csv", index=False)
    options = ("--split", "random", "--epochs", 1, "--seeds", 2, "--workers", 1, "--methods", "budget,lambda=1")
    made = gate("benchmark", "--data", folder / "my.csv", "--out", folder / "run", *options)
    assert made.exception is None
    return folder / "run"


# λ of a run


def test_learned_lambda_leaves_failed_seeds_out_and_takes_logarithms_where_it_can(tmp_path: Path) -> None:
    positive = np.exp(np.random.default_rng(0).standard_normal((3, 4, 4)))
    zero = positive.copy()
    zero[1, 2, 0] = 0.0
    folder = made_up(tmp_path / "run")
    write_jobs(folder, "budget", positive.tolist(), failed=(1,))
    write_jobs(folder, "direct", zero.tolist())
    budget, direct = learned_lambdas(BenchmarkRun(folder))
    assert (budget.method, budget.seeds, budget.failed, budget.scale) == ("budget", (0, 2), (1,), "log λ")
    off = off_diagonal(4)
    np.testing.assert_allclose(np.exp(budget.scaled)[:, off], positive[[0, 2]][:, off])
    assert (direct.seeds, direct.scale, direct.zeros) == ((0, 1, 2), "λ", pytest.approx(1 / 36))
    assert (direct.scaled[:, off] == zero[:, off]).all()
    assert (budget.telling, direct.telling) == ("pairs alone", "within targets")
    said = stability_analysis([budget, direct], TASKS, positive[0], {}).findings.splitlines()
    assert said[-1].startswith("- `direct`: 3 % of its λ are 0, the bound")
    assert said[-1].endswith("chance** (within targets).")
    assert said[-2].endswith("(pairs alone). Left out, since the training failed: seed 1.")
    write_jobs(folder, "budget", positive.tolist(), failed=(0, 1))
    with pytest.raises(RunError, match=r"lacks a second seed with λ of budget; (.|\n)* --seeds 4 "):
        learned_lambdas(BenchmarkRun(folder))
    with pytest.raises(RunError, match=r"lacks a method that learns λ; (.|\n)* --methods lambda=1,budget "):
        learned_lambdas(BenchmarkRun(made_up(tmp_path / "empty")))
    two = made_up(tmp_path / "two", tasks=("HV", "BP"))
    write_jobs(two, "budget", positive[:, :2, :2].tolist())
    with pytest.raises(RunError, match="has the tasks HV, BP; at least 3"):
        learned_lambdas(BenchmarkRun(two))


# Trainings


def test_a_removed_source_has_lambda_zero_for_every_target() -> None:
    tasks = ("A", "B", "C")
    assert without(None, tasks) == (1.0,) * 9
    expected = np.ones((3, 3))
    expected[[0, 2], 1] = 0.0
    assert without(1, tasks) == tuple(expected.flatten())


def test_removals_are_trainings_at_lambda_one_judged_on_selection_molecules(
    small_data: PreparedData, tmp_path: Path
) -> None:
    settings = Settings(epochs=2, network=SMALL)
    seen: list[tuple[int, int]] = []
    found = train_removals(
        tmp_path, {5: small_data}, settings, population=3, on=1, progress=lambda *counts: seen.append(counts)
    )
    assert found.shape == (1, 4, 3)
    assert seen[0] == (0, 4)
    assert seen[-1] == (4, 4)
    x, labels = small_data.some(small_data.split.selection)
    for row, removed in zip(found[0], (None, 0, 1, 2), strict=True):
        matrix = np.reshape(without(removed, small_data.abbreviations), (3, 3)).tolist()
        alone = train(small_data, constant("", "", tuple(map(tuple, matrix))), settings, seed=5)
        np.testing.assert_allclose(row, rmse(predict(alone.model, x), labels), rtol=1e-4)
    assert len(list((tmp_path / "jobs").glob("removal-seed5-*.json"))) == 4


def test_a_removal_that_diverges_ends_all(small_data: PreparedData, tmp_path: Path) -> None:
    for population in (1, 2):
        with pytest.raises(DivergedError, match="diverged in epoch 1"):
            train_removals(
                tmp_path / f"{population}", {0: small_data}, Settings(epochs=1, lr=1e30), population=population, on=1
            )


def test_lambda_that_is_the_gain_agrees_with_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gain = np.exp(rng.standard_normal((1, 6, 6))) + 0.01 * rng.standard_normal((3, 6, 6))
    with_all = np.full((3, 1, 6), 0.3)
    measured = np.concatenate([with_all, with_all * np.exp(gain.transpose(0, 2, 1))], axis=1)
    tasks = ("HV", "BP", "CT", "VP", "DS", "RI")
    learned = LearnedLambda("budget", (0, 1, 2), gain, ())
    write_analysis(tmp_path, gain_analysis(measured, (0, 1, 2), [learned], tasks, gain[0], {"command": "c"}))
    agreement = pd.read_csv(tmp_path / "agreement.csv").set_index(["method", "view"])
    assert agreement.loc[("budget", "all pairs"), "rho"] == pytest.approx(1)
    assert agreement.loc[("budget", "pairs alone"), "p"] < 0.01
    assert agreement.loc[("budget", "all pairs"), "ceiling"] == pytest.approx(1, abs=0.01)
    table = pd.read_csv(tmp_path / "gain.csv").set_index(["target", "source"])
    assert table.loc[("BP", "CT"), "gain"] == pytest.approx(gain[:, 1, 2].mean())
    assert table.loc[("BP", "CT"), "gain_std"] == pytest.approx(gain[:, 1, 2].std(ddof=1))
    raw = pd.read_csv(tmp_path / "rmse.csv", keep_default_na=False).set_index(["seed", "removed", "target"])["val_rmse"]
    assert raw[1, "CT", "BP"] == pytest.approx(0.3 * np.exp(gain[1, 1, 2]))
    assert raw[1, "", "BP"] == 0.3
    assert "`budget`: the gain of pairs with a large λ stands **higher than by chance**" in (
        tmp_path / "findings.md"
    ).read_text(encoding="utf-8")


# Commands


def files_of(folder: Path) -> dict[str, bytes]:
    kept = [path for path in folder.iterdir() if path.suffix in (".csv", ".md")]
    return {path.name: path.read_bytes() for path in kept}


def test_stability_of_a_run(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert script(stability.main, run, "--out", out).exception is None
    lambdas = np.array([result.lambda_[0] for result in BenchmarkRun(run).results("budget")])
    table = pd.read_csv(out / "lambda.csv").set_index(["method", "target", "source"])
    assert len(table) == 12
    assert table.loc[("budget", "CT", "HV"), "lambda"] == pytest.approx(lambdas[:, 2, 0].mean())
    labels = pd.read_csv(run.parent / "my.csv")
    seeds = [BenchmarkRun(run).split(read_csv(run.parent / "my.csv"), seed).train for seed in (0, 1)]
    expected = np.mean(
        [abs(labels.iloc[rows]["CT"].corr(labels.iloc[rows]["HV"], method="spearman")) for rows in seeds]
    )
    assert table.loc[("budget", "CT", "HV"), "labels"] == pytest.approx(expected)
    found = pd.read_csv(out / "stability.csv")
    assert found[["seed_a", "seed_b"]].to_numpy().tolist() == [[0, 1]] * 3
    assert pd.read_csv(out / "variance.csv")["share"].sum() == pytest.approx(1)
    assert set(pd.read_csv(out / "pairs.csv")["pair"]) == {"BP|HV", "BP|CT", "BP|VP", "HV|VP"}
    facts = json.loads((out / "findings.json").read_text(encoding="utf-8"))
    assert facts["methods"]["budget"]["seeds"] == [0, 1]
    assert "| `budget`, log λ | 2 |" in (out / "findings.md").read_text(encoding="utf-8")
    for name in ("lambda-budget", "pairs-budget", "variance"):
        assert "plotly" in (out / f"{name}.html").read_text(encoding="utf-8")
    assert script(stability.main, run, "--out", out).exception is None, "replaces what is there"
    assert "holds no stability.csv" in str(script(stability.main, run, "--out", run).exception)


def test_removal_goes_on_with_the_trainings_that_are_missing(run: Path, tmp_path: Path) -> None:
    def removed(out: Path, *options: object) -> CliResult:
        common = ("--seeds", 2, "--population", 2, "--workers", 1, "--out", out)
        return script(removal.main, run, *common, *options)

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert "lacks λ for --seeds 3, having it for 2" in str(script(removal.main, run, "--out", whole).exception), (
        "3 by default"
    )
    assert removed(whole).exception is None
    shutil.copytree(whole, stopped)
    for path in stopped.glob("*.csv"):
        path.unlink()
    kept = stopped / "jobs" / "removal-seed0-0.json"
    written = kept.stat().st_mtime_ns
    (stopped / "jobs" / "removal-seed1-3.json").unlink()
    assert removed(stopped, "--resume").exception is None
    assert kept.stat().st_mtime_ns == written
    assert files_of(stopped) == files_of(whole)
    assert {"rmse.csv", "gain.csv", "agreement.csv", "stability.csv", "variance.csv", "pairs.csv"} < files_of(
        whole
    ).keys()
    assert len(list((whole / "jobs").iterdir())) == 2 * 5, "four sources, and none"
    for name in ("gain", "gain-budget"):
        assert (whole / f"{name}.html").exists()
    assert "population was 2, now 3" in str(removed(stopped, "--resume", "--population", 3).exception)
