"""The leaderboard: rows against hand-worked numbers, choices, methods, and jobs that go on where they stopped."""

import json
import sys
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner
from typer.testing import Result as CliResult

from bilevel_hpo import TransferRatios, comparison
from bilevel_hpo.comparison import Run, Trained, read_trained, run_methods
from bilevel_hpo.run_folder import RunError
from gate_model.cli.app import app
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.splits import fewer, random_split
from gate_model.data.table import DataError
from gate_model.experiments.leaderboard import _gate, _outside
from gate_model.experiments.leaderboard._answer import Answer, Assignment
from gate_model.experiments.leaderboard._gate import GateTraining, SingleTasks, only_task
from gate_model.experiments.leaderboard._learners import IMPLICIT
from gate_model.experiments.leaderboard._outside import Chemprop, Trees
from gate_model.experiments.leaderboard.board import rows_of, write_board
from gate_model.experiments.leaderboard.by_labels import ByLabels, by_labels, tpe_by_labels
from gate_model.experiments.leaderboard.table import ENTRIES, TPE, UNIFORM, UNIFORM_VALUES, entries_of, methods_of
from gate_model.experiments.leaderboard.trainings import BenchmarkTrainings
from gate_model.experiments.record import setting_of
from gate_model.model.evaluation import predict, rmse
from gate_model.training.methods import constant
from gate_model.training.settings import Settings
from gate_model.training.train import train
from tests.gate.make_messy import write

SHORT = Settings(epochs=2)
TASKS = ("DS", "HV", "BP")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def assignment(data: PreparedData, settings: Settings = SHORT) -> Assignment:
    return Assignment(data, settings, 0)


def answer(test: list[float], val: list[float], seconds: float = 1.0) -> comparison.Answer:
    tasks = ["A", "B"]
    scores = (dict(zip(tasks, values, strict=True)) for values in (val, test))
    trained = Trained(*scores, seconds=seconds, extra={"test_units": [10 * value for value in test]})
    return comparison.Answer(trained, 1, seconds, seconds, 0)


def done(
    names: list[str], datasets: dict[int, PreparedData], folder: Path, settings: Settings = SHORT
) -> comparison.Answers:
    """The answers of these methods, trained in this process; their files are in `folder/jobs`."""
    setting = setting_of(folder, next(iter(datasets.values())).abbreviations, {})
    methods = methods_of(entries_of(names), datasets)
    return run_methods(BenchmarkTrainings(datasets, settings), methods, list(datasets), setting)


# Rows


def test_the_best_uniform_lambda_is_chosen_on_selection_and_pays_for_all(tmp_path: Path) -> None:
    """Seed 0: λ = 0.1 is best on selection, seed 1: λ = 1; the test RMSE would choose otherwise."""
    best = {0: 0.1, 1: 1.0}

    def training(run: Run) -> Trained:
        value = float(run.method.removeprefix("lambda="))
        place = UNIFORM_VALUES.index(value)
        val = 0.2 if value == best[run.seed] else 0.3
        if (value, run.seed) == (0.02, 1):
            return Trained({}, seconds=2.0, failure="the training diverged in epoch 2")
        return answer([place + 1.0, place + 2.0], [val, val], seconds=2.0).trained

    methods, setting = methods_of(entries_of([UNIFORM]), {}), setting_of(tmp_path, ["A", "B"], {})
    (row,) = rows_of([UNIFORM], run_methods(training, methods, [0, 1], setting))
    assert row.test.tolist() == [[4.0, 5.0], [8.0, 9.0]]
    assert row.training_runs == len(UNIFORM_VALUES) == 8
    assert row.seconds == 16.0
    assert row.note == "chosen: 0.1, 1"


def test_a_diverged_training_is_shown_and_in_no_number(tmp_path: Path) -> None:
    answers = {
        ("budget", 0): answer([0.2, 0.4], [0.2, 0.2]),
        ("budget", 1): answer([0.4, 0.4], [0.2, 0.2]),
        ("lambda=1", 0): answer([0.4, 0.8], [0.2, 0.2]),
        ("lambda=1", 1): answer([0.4, 0.2], [0.2, 0.2]),
        ("direct", 0): answer([0.1, 0.2], [0.2, 0.2], seconds=5.0),
        ("direct", 1): comparison.Answer(Trained({}, failure="the training diverged in epoch 2"), 1, 0.0, 0.0, 0),
    }
    rows = rows_of(["budget", "direct", "lambda=1"], answers)
    assert [row.method for row in rows] == ["direct", "budget", "lambda=1"]
    facts = {"tasks": ["A", "B"], "units": {"A": "K", "B": "Pa"}, "molecules": 9}
    write_board(tmp_path, rows, facts | {"split": "scaffold", "fraction": 0.5, "epochs": 3})
    board = pd.read_csv(tmp_path / "leaderboard.csv").set_index("method")
    assert board.loc["direct", "seeds"] == 1
    assert board.loc["direct", "failures"] == "seed 1: the training diverged in epoch 2"
    assert board.loc["direct", "ratio to lambda=1"] == pytest.approx(0.25), "on seed 0 alone"
    assert board.loc["budget", "ratio to lambda=1"] == pytest.approx((0.5 + 0.5 + 1 + 2) / 4)
    assert board.loc["budget", "rmse_std"] == pytest.approx(np.std([0.3, 0.4], ddof=1))
    compared = pd.read_csv(tmp_path / "comparisons.csv").set_index(["method", "against"])
    assert compared.loc[("budget", "best at no higher cost"), "reference"] == "lambda=1", "`direct` costs five times"
    assert compared.loc[("direct", "best at no higher cost"), "reference"] == "budget"
    tasks = pd.read_csv(tmp_path / "per_task.csv").set_index(["method", "task"])
    assert tasks.loc[("budget", "A"), ["rmse", "rmse_units", "unit"]].tolist() == pytest.approx([0.3, 3.0, "K"])
    page = (tmp_path / "leaderboard.md").read_text()
    assert "| `budget`: learned: one step on a budget | 0.3500 ± 0.0707 | 1.000, 2/2" in page
    assert "`direct`: seed 1: the training diverged in epoch 2" in page


def test_rows_name_the_methods_that_are_run() -> None:
    assert [entry.name for entry in entries_of(["lambda=0", "budget"])] == ["budget", "lambda=0"]
    assert {entry.name for entry in entries_of([UNIFORM])} == {
        UNIFORM,
        *(f"lambda={value:g}" for value in UNIFORM_VALUES),
    }
    with pytest.raises(ValueError, match="no method is called nonsense"):
        entries_of(["nonsense"])
    with pytest.raises(ValueError, match="chemprop-timed trains as long as lambda=1 did"):
        entries_of(["chemprop-timed"])
    assert all(name == entry.name for name, entry in ENTRIES.items())


# Splits


def test_fewer_molecules_to_learn_from_and_the_same_to_judge(small_data: PreparedData) -> None:
    labels, split = small_data.table.labels, small_data.split
    quarter = fewer(split, labels, 0.25, seed=3)
    assert set(quarter.train) < set(split.train)
    assert set(quarter.validation) < set(split.validation)
    assert (len(quarter.train), len(quarter.validation)) == tuple(
        round(0.25 * len(rows)) for rows in (split.train, split.validation)
    )
    assert quarter.selection is split.selection
    assert quarter.test is split.test
    assert np.array_equal(quarter.train, fewer(split, labels, 0.25, seed=3).train)
    assert not np.array_equal(quarter.train, fewer(split, labels, 0.25, seed=4).train)
    assert fewer(split, labels, 1.0, seed=0) is split
    data = prepare(small_data.table, seed=0, split=quarter)
    assert data.standardizer.mean == pytest.approx(small_data.table.labels[quarter.train].mean(0)), "scaled anew"
    with pytest.raises(ValueError, match="fraction=0"):
        fewer(split, labels, 0.0, seed=0)
    rare = np.where(np.arange(len(labels))[:, None] == split.train[0], 1.0, np.nan)
    with pytest.raises(DataError, match="two train labels"):
        fewer(split, rare, 0.5, seed=0)


def test_a_random_split_covers_all_molecules_once() -> None:
    labels = np.full((50, 2), np.nan)
    labels[:, 0] = 1.0
    labels[::4, 1] = 1.0
    split = random_split(labels, seed=1)
    parts = list(vars(split).values())
    assert sorted(np.concatenate(parts).tolist()) == list(range(50))
    assert [len(part) for part in parts] == [35, 5, 5, 5]
    assert all(np.isfinite(labels[part]).any(0).all() for part in parts)
    assert np.array_equal(split.test, random_split(labels, seed=1).test)
    assert not np.array_equal(split.test, random_split(labels, seed=2).test)
    labels[3:, 1] = np.nan
    with pytest.raises(DataError, match="so few labels"):
        random_split(labels, seed=1)


# Methods


def test_one_task_alone_has_its_own_molecules_and_the_same_split(small_data: PreparedData) -> None:
    labels = small_data.labels.copy()
    labels[::3, 1] = np.nan
    table = replace(small_data.table, labels=np.where(np.isfinite(labels), small_data.table.labels, np.nan))
    data = replace(small_data, labels=labels, table=table)
    alone = only_task(data, 1)
    assert alone.abbreviations == ("HV",)
    assert len(alone.molecules) == np.isfinite(labels[:, 1]).sum() == len(alone.table.smiles)
    for name, rows in vars(alone.split).items():
        whole = getattr(data.split, name)
        kept = whole[np.isfinite(labels[whole, 1])]
        assert alone.labels[rows, 0].tolist() == labels[kept, 1].tolist()
        assert [alone.table.smiles[row] for row in rows] == [data.table.smiles[row] for row in kept]
        x, y = data.some(kept)[0], alone.some(rows)[0]
        assert torch.equal(x[torch.arange(len(x))], y[torch.arange(len(y))])


def test_single_tasks_take_as_many_steps_as_all_together(
    small_data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """280 train molecules make 7 batches, 130 make 4: four epochs of these are two of those and two steps more."""
    labels = small_data.labels.copy()
    labels[small_data.split.train[130:], 1] = np.nan
    table = replace(small_data.table, labels=np.where(np.isfinite(labels), small_data.table.labels, np.nan))
    data, epochs, real = replace(small_data, labels=labels, table=table), [], train
    monkeypatch.setattr(
        _gate,
        "train",
        lambda data, method, settings, seed: epochs.append(settings) or real(data, method, settings, seed=seed),
    )
    settings = replace(SHORT, batch_size=40)
    answer = SingleTasks()(assignment(data, settings))
    assert len(data.split.train) == 280
    assert [one.epochs for one in epochs] == [2, 4, 2]
    assert answer.training_runs == 3
    test = data.split.test
    alone = train(only_task(data, 2), constant("", "", 0.0), settings, seed=0)
    assert np.array_equal(answer.predict(test)[:, [2]], predict(alone.model, data.some(test)[0]))


def test_tpe_groups_targets_by_their_labels(small_data: PreparedData, tmp_path: Path) -> None:
    labels = small_data.labels.copy()
    train_rows = small_data.split.train
    labels[train_rows[:100], 0], labels[train_rows[:50], 2] = np.nan, np.nan
    assert by_labels(replace(small_data, labels=labels)) == [0, 2, 1]
    space = ByLabels({3: (0, 2, 1)}).space(TransferRatios(TASKS), seed=3)
    rows = torch.tensor([[1, 0.1, 0.1], [0.3, 1, 0.3], [0.2, 0.2, 1]])
    torch.testing.assert_close(space.tensor({"few": 0.1, "some": 0.2, "many": 0.3}), rows)
    search, setting = tpe_by_labels(TPE, "", 3, {0: small_data}), setting_of(tmp_path, TASKS, {})
    found = run_methods(BenchmarkTrainings({0: small_data}, SHORT), [search], [0], setting)[TPE, 0]
    assert (found.training_runs, found.epochs) == (3, 6)
    best = min(found.trials, key=lambda trial: trial.selection)
    chosen = ByLabels({0: tuple(by_labels(small_data))}).space(TransferRatios(TASKS)).tensor(best.params)
    assert found.trained.lambda_ == pytest.approx(chosen.flatten().tolist(), abs=1e-5)
    assert np.mean(list(found.trained.selection.values())) == best.selection
    alone = train(small_data, constant("", "", tuple(map(tuple, chosen.tolist()))), SHORT, seed=0)
    x, labels = small_data.some(small_data.split.test)
    assert list(found.trained.test.values()) == rmse(predict(alone.model, x), labels).tolist()


class Mean:
    """Stands for a regressor: predicts the mean of what it was fitted to, plus the sum of a row."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, x: NDArray[np.float32], y: NDArray[np.float64]) -> None:
        assert len(x) == len(y)
        assert np.isfinite(y).all()
        self.mean = y.mean()

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.mean + 0 * x[:, 0]


def test_trees_see_train_and_validation_molecules_with_a_label(small_data: PreparedData) -> None:
    labels = small_data.labels.copy()
    labels[::2, 0] = np.nan
    data = replace(small_data, labels=labels)
    answer = Trees(Mean)(assignment(data))
    seen = np.concatenate([data.split.train, data.split.validation])
    expected = np.tile(np.nanmean(labels[seen], axis=0), (5, 1))
    np.testing.assert_allclose(answer.predict(data.split.test[:5]), expected)
    assert answer.training_runs == 3


def test_trees_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ValueError, match=r"lightgbm is not installed: pip install 'bilevel-hpo\[leaderboard\]'"):
        _outside.lightgbm(0)


def test_chemprop_is_asked_in_another_process(
    small_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the script answers with row number and task, and says what it was given."""
    script = tmp_path / "chemprop_script.py"
    script.write_text(
        "import json, sys\n"
        "q = json.load(open(sys.argv[1]))\n"
        "assert len(q['smiles']) == len(q['labels']) == 400 and q['labels'][0][0] is None\n"
        "assert q['epochs'] == 2 and q['seconds'] is None and not set(q['train']) & set(q['predict'])\n"
        "told = {'predictions': [[r, r + .5, -r] for r in q['predict']], 'seconds': 7.0}\n"
        "json.dump(told, open(sys.argv[2], 'w'))\n"
    )
    monkeypatch.setattr(_outside, "__file__", str(tmp_path / "x.py"))
    labels = small_data.labels.copy()
    labels[0, 0] = np.nan
    asked = replace(assignment(replace(small_data, labels=labels)), python=Path(sys.executable), seconds=3.0)
    answer = Chemprop()(asked)
    rows = small_data.split.test[[2, 0]]
    assert answer.predict(rows).tolist() == [[r, r + 0.5, -r] for r in rows]
    assert answer.seconds == 7.0
    with pytest.raises(ValueError, match=r"chemprop failed: (?s:.*)AssertionError"):
        Chemprop(timed=True)(asked)
    with pytest.raises(ValueError, match="--python"):
        Chemprop()(replace(asked, python=None))


@pytest.mark.parametrize("name", ["free", "auto-lambda", "lambda=1-sum", *IMPLICIT])
def test_learners_learn_and_a_seed_gives_the_same_bits(small_data: PreparedData, name: str) -> None:
    run = ENTRIES[name].run
    assert isinstance(run, GateTraining)
    one, other = (run(assignment(small_data)) for _ in range(2))
    rows = small_data.split.selection
    assert np.array_equal(one.predict(rows), other.predict(rows))
    assert one.lambda_ is not None
    off = one.lambda_[~torch.eye(3, dtype=torch.bool)]
    assert off.isfinite().all()
    assert (off.std() > 0) == (name != "lambda=1-sum")


def test_the_literal_sum_is_lambda_times_the_number_of_sources(small_data: PreparedData) -> None:
    run = ENTRIES["lambda=1-sum"].run
    assert run is not None
    literal = run(assignment(small_data))
    twice = train(small_data, constant("", "", 2.0), replace(SHORT, relative_losses=False), seed=0)
    x, labels = small_data.some(small_data.split.selection)
    found = rmse(literal.predict(small_data.split.selection), labels)
    assert found == pytest.approx(rmse(predict(twice.model, x), labels), rel=1e-4)


# Jobs


def test_a_job_looks_at_the_test_molecules_once_after_all_choices(
    small_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def run(given: Assignment) -> Answer:
        def of(rows: NDArray[np.int64]) -> NDArray[np.float64]:
            asked.append(rows.tolist())
            return np.zeros((len(rows), 3))

        return Answer(of, seconds=4.0, curve=[{"epoch": 1, "selection": 0.5}])

    monkeypatch.setitem(ENTRIES, "budget", replace(ENTRIES["budget"], run=run))
    found = done(["budget"], {5: small_data}, tmp_path)["budget", 5].trained
    assert asked.count(small_data.split.test.tolist()) == 1
    assert len(asked) == 2
    assert found == read_trained(tmp_path / "jobs", "budget", 5)
    assert (found.seconds, found.epochs) == (4.0, 1)
    test = np.array(list(found.test.values()))
    np.testing.assert_allclose(test, np.sqrt((small_data.labels[small_data.split.test] ** 2).mean(0)))
    np.testing.assert_allclose(found.extra["test_units"], test * small_data.standardizer.std)


def test_a_time_limit_is_the_seconds_of_the_other_method_with_the_same_seed(
    small_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float | None] = []

    def timed(given: Assignment) -> Answer:
        limits.append(given.seconds)
        return Answer(lambda rows: np.zeros((len(rows), 3)), seconds=10.0 + given.seed)

    for name in ("lambda=1", "chemprop-timed"):
        monkeypatch.setitem(ENTRIES, name, replace(ENTRIES[name], run=timed))
    done(["lambda=1", "chemprop-timed"], {0: small_data, 1: small_data}, tmp_path)
    assert limits == [None, 10.0, None, 11.0], "seed by seed"


def test_a_job_that_diverges_is_a_result_and_a_mistake_is_not(small_data: PreparedData, tmp_path: Path) -> None:
    found = done(["lambda=1"], {0: small_data}, tmp_path, replace(SHORT, lr=1e30))["lambda=1", 0].trained
    assert "diverged in epoch" in found.failure
    assert found == read_trained(tmp_path / "jobs", "lambda=1", 0)
    with pytest.raises(ValueError, match="precision"):
        done(["dwa"], {0: small_data}, tmp_path, replace(SHORT, precision="bfloat16"))
    with pytest.raises(RunError, match=r"dwa-seed0-0\.json is missing"):
        read_trained(tmp_path / "jobs", "dwa", 0)


def test_the_command_goes_on_with_the_jobs_that_are_missing_and_writes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "my.csv")

    def gate(*options: object) -> CliResult:
        return CliRunner().invoke(app, ["benchmark", "--data", str(tmp_path / "my.csv"), *map(str, options)])

    def numbers() -> Trained:
        found = read_trained(out / "jobs", "uncertainty", 0)
        return replace(found, seconds=0, cpu_seconds=0, curve=[row | {"seconds": 0} for row in found.curve])

    monkeypatch.setitem(sys.modules, "lightgbm", None)
    out = tmp_path / "out"
    common = ("--out", out, "--epochs", 1, "--workers", 1, "--split", "random", "--fraction", 0.5)
    assert gate(*common, "--seeds", 1, "--methods", "lambda=0,uncertainty").exception is None
    kept, lost = (out / "jobs" / f"{name}-seed0-0.json" for name in ("lambda=0", "uncertainty"))
    written, before = kept.stat().st_mtime_ns, numbers()
    lost.unlink()
    assert gate(*common, "--seeds", 2, "--methods", "uncertainty,lambda=0,lambda=1", "--resume").exception is None
    assert kept.stat().st_mtime_ns == written
    assert numbers() == before, "the same training in another process gives the same numbers"
    board = pd.read_csv(out / "leaderboard.csv")
    assert sorted(board["method"]) == ["lambda=0", "lambda=1", "uncertainty"]
    assert board["seeds"].tolist() == [2, 2, 2]
    results = json.loads((out / "results.json").read_text())
    assert (results["kind"], results["fraction"], results["tasks"]) == ("leaderboard", 0.5, ["bp", "ds"])
    assert results["split"]["method"] == "random; one split per seed"
    assert {"scikit-learn", "rdkit", "torch"} <= results["versions"].keys()
    assert ("lightgbm" in results["versions"]) == any(distributions(name="lightgbm"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "split by random; one split per seed" in page
    assert "standardised labels" in page
    for options, message in [
        ((*common[:-1], 0.25, "--resume"), "fraction was 0.5, now 0.25"),
        ((*common, "--methods", "best"), "no method is called best"),
        ((*common, "--methods", "chemprop"), "chemprop needs --python"),
        ((*common, "--methods", "lightgbm"), "lightgbm is not installed"),
    ]:
        assert message in str(gate(*options).exception)
