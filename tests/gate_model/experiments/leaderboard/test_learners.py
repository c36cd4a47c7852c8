"""Other learners of λ."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard._gate import GateTraining
from gate_model.experiments.leaderboard._learners import IMPLICIT
from gate_model.experiments.leaderboard.table import ENTRIES
from gate_model.model.evaluation import predict, rmse
from gate_model.training.methods import constant
from gate_model.training.train import train
from tests.gate_model.leaderboard_cases import SHORT, assignment


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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
