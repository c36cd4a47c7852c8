"""Early stopping."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gate_model.data.prepared import PreparedData
from gate_model.model.evaluation import predict, rmse
from gate_model.training.methods import LEARNED
from gate_model.training.settings import Settings
from gate_model.training.train import train


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_early_stopping_keeps_the_best_model_and_its_lambda(small_data: PreparedData) -> None:
    settings = Settings(epochs=40, lr=0.02, patience=3)
    method = LEARNED["budget"].learning_with(warm_up=0.0)
    stopped = train(small_data, method, settings, seed=0)
    scores = [row["selection"] for row in stopped.history]
    best = int(np.argmin(scores))
    assert stopped.epoch == best + 1
    assert len(scores) == best + 1 + 3 < 40
    x, labels = small_data.some(small_data.split.selection)
    assert rmse(predict(stopped.model, x), labels).mean() == pytest.approx(scores[best], abs=0)
    assert stopped.val_rmse == scores[best]
    assert torch.equal(stopped.ratios, stopped.trajectory[best + 1])
    assert not torch.equal(stopped.ratios, stopped.trajectory[-1])
    whole = train(small_data, method, replace(settings, patience=None, epochs=40), seed=0)
    assert [row["selection"] for row in whole.history][: len(scores)] == scores, "stopping changes nothing before"
    assert whole.epoch == 40
    with pytest.raises(ValueError, match="patience=0"):
        train(small_data, method, replace(settings, patience=0), seed=0)
