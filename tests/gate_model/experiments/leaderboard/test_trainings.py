"""Jobs of the leaderboard: what they look at, their time limits, their failures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bilevel_hpo import comparison
from bilevel_hpo.comparison import read_trained, run_methods
from bilevel_hpo.run_folder import RunError
from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard._answer import Answer, Assignment
from gate_model.experiments.leaderboard.table import ENTRIES, entries_of, methods_of
from gate_model.experiments.leaderboard.trainings import BenchmarkTrainings
from gate_model.experiments.record import setting_of
from gate_model.training.settings import Settings
from tests.gate_model.leaderboard_cases import SHORT


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def done(
    names: list[str], datasets: dict[int, PreparedData], folder: Path, settings: Settings = SHORT
) -> comparison.Answers:
    """The answers of these methods, trained in this process; their files are in `folder/jobs`."""
    setting = setting_of(folder, next(iter(datasets.values())).abbreviations, {})
    methods = methods_of(entries_of(names), datasets)
    return run_methods(BenchmarkTrainings(datasets, settings), methods, list(datasets), setting)


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
