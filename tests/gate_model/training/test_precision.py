"""Training in bfloat16."""

from dataclasses import replace

import pytest
import torch

from bilevel_hpo import Direct, OneStep
from gate_model.data.prepared import PreparedData
from gate_model.training.methods import LEARNED
from gate_model.training.settings import Settings
from gate_model.training.train import train

SHORT = Settings(epochs=4)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_bfloat16_is_in_effect_keeps_the_estimator_and_predicts_in_float32(small_data: PreparedData) -> None:
    assert isinstance(LEARNED["budget"].learning.estimator, OneStep)
    assert isinstance(LEARNED["direct"].learning.estimator, Direct)
    full = train(small_data, LEARNED["budget"], SHORT, seed=0)
    half = train(small_data, LEARNED["budget"], replace(SHORT, precision="bfloat16"), seed=0)
    assert [{row["computed_in"] for row in trained.outer_steps} for trained in (full, half)] == [
        {"float32"},
        {"bfloat16"},
    ]
    assert all(row["certified"] for trained in (full, half) for row in trained.outer_steps)
    a, b = (trained.history[-1]["train_loss"] for trained in (full, half))
    assert a != b
    assert a == pytest.approx(b, rel=0.05)
    assert all(p.dtype == torch.float32 for p in half.model.parameters())
    x, _ = small_data.some(small_data.split.test)
    assert half.model(x[torch.arange(2)]).dtype == torch.float32
    with pytest.raises(ValueError, match="precision='float16'"):
        train(small_data, LEARNED["budget"], replace(SHORT, precision="float16"), seed=0)
