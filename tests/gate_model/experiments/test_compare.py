"""Searches over λ: sizes, axes, winners, resumes."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from bilevel_hpo import TransferRatios
from bilevel_hpo.comparison import Answer, Progress, Searched, run_methods
from gate_model.data.prepared import PreparedData
from gate_model.experiments.compare import check_size, grid_of, shared_values, too_many, tpe_of
from gate_model.experiments.record import setting_of
from gate_model.experiments.trainings import Trainings
from gate_model.training.methods import pairs, relative
from gate_model.training.settings import Settings

TASKS = ("DS", "HV", "BP")


class KilledError(Exception):
    pass


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def searched(data: PreparedData, folder: Path, method: Searched, progress: Progress = lambda *_: None) -> Answer:
    """The answer of a search with seed 0 and trainings of one epoch; its studies and winners are kept in `folder`."""
    trainings, setting = Trainings({0: data}, Settings(epochs=1)), setting_of(folder, data.abbreviations, {})
    return run_methods(trainings, [method], [0], setting, progress=progress)[method.name, 0]


def test_grid_resumes_from_its_journal_and_chooses_the_winner_on_selection(
    small_data: PreparedData, tmp_path: Path
) -> None:
    counts: list[tuple[int, int]] = []

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise KilledError

    grid = grid_of((0.0, 1.0))
    whole = searched(small_data, tmp_path / "a", grid)
    with pytest.raises(KilledError):
        searched(small_data, tmp_path / "b", grid, kill)
    resumed = searched(small_data, tmp_path / "b", grid, lambda *both: counts.append(both))
    assert counts[-1] == (9, 9)
    assert len(counts) == 1 + 1 + 6, "none, the three that are there, and one after each of the others"
    assert [trial.params for trial in whole.trials] == [
        dict(zip(pairs(TASKS), point, strict=True)) for point in product((0.0, 1.0), repeat=3)
    ]
    assert [(t.params, t.selection) for t in whole.trials] == [(t.params, t.selection) for t in resumed.trials]
    assert whole.trained.test == resumed.trained.test
    assert (whole.training_runs, whole.epochs) == (8, 8)
    best = min(whole.trials, key=lambda trial: trial.selection)
    assert whole.trained.lambda_[1] == whole.trained.lambda_[3] == best.params["DS|HV"]
    assert np.mean(list(whole.trained.selection.values())) == pytest.approx(best.selection, abs=0)


def test_symmetric_matrix_and_relative_units() -> None:
    space = grid_of((0.0, 1.0)).axes.space(TransferRatios(TASKS))
    matrix = space.tensor({"DS|HV": 0.2, "DS|BP": 0.6, "HV|BP": 1.0})
    torch.testing.assert_close(matrix, torch.tensor([[1.0, 0.2, 0.6], [0.2, 1.0, 1.0], [0.6, 1.0, 1.0]]))
    weights = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.05, 0.05, 0.9]])
    expected = torch.tensor([[1.0, 0.25, 0.25], [0.8, 1.0, 1.2], [1 / 9, 1 / 9, 1.0]])
    torch.testing.assert_close(relative(weights), expected)


def test_a_grid_that_nobody_would_wait_for_is_refused() -> None:
    assert check_size(TASKS, (0.2, 0.6, 1.0)) == 27
    with pytest.raises(ValueError, match="gate learn"):
        check_size([f"t{i}" for i in range(6)], (0.2, 0.6, 1.0))


def test_many_tasks_are_searched_with_one_lambda_for_all_pairs(small_data: PreparedData, tmp_path: Path) -> None:
    assert not too_many(TASKS, (0.2, 0.6, 1.0))
    assert too_many([f"t{i}" for i in range(40)], (0.2, 0.6, 1.0))
    assert shared_values((0.2, 0.6, 1.0)) == (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    assert shared_values(range(8)) == tuple(range(8))
    grid, tpe = grid_of((0.0, 0.5), shared=True), tpe_of((0.0, 0.5), 2, shared=True)
    assert grid.title == "grid search over one λ for all pairs"
    for method in (grid, tpe):
        found = searched(small_data, tmp_path, method)
        tried = [trial.params["all"] for trial in found.trials]
        assert tried == [0.0, 0.5] if method is grid else all(0 < value < 0.5 for value in tried)
        best = min(found.trials, key=lambda trial: trial.selection).params["all"]
        expected = [1.0 if t == s else best for t in range(3) for s in range(3)]
        assert found.trained.lambda_ == pytest.approx(expected, rel=1e-6)
