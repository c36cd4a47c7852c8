"""λ by the number of labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bilevel_hpo import TransferRatios
from bilevel_hpo.comparison import run_methods
from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard.by_labels import ByLabels, by_labels, tpe_by_labels
from gate_model.experiments.leaderboard.table import TPE
from gate_model.experiments.leaderboard.trainings import BenchmarkTrainings
from gate_model.experiments.record import setting_of
from gate_model.model.evaluation import predict, rmse
from gate_model.training.methods import constant
from gate_model.training.train import train
from tests.gate_model.leaderboard_cases import SHORT

TASKS = ("DS", "HV", "BP")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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
