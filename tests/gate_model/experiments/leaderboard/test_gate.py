"""Single-task networks as rivals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard import _gate
from gate_model.experiments.leaderboard._gate import SingleTasks, only_task
from gate_model.model.evaluation import predict
from gate_model.training.methods import constant
from gate_model.training.train import train
from tests.gate_model.leaderboard_cases import SHORT, assignment


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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
