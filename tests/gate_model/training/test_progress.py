"""What is reported after an epoch."""

from dataclasses import replace

import pytest
import torch

from gate_model.cli._live import describe
from gate_model.data.prepared import PreparedData
from gate_model.training.methods import LEARNED, constant, relative
from gate_model.training.progress import EpochReport
from gate_model.training.settings import Settings
from gate_model.training.train import train

SHORT = Settings(epochs=4)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_reports_tell_lambda_and_learning_rate(small_data: PreparedData) -> None:
    reports: list[EpochReport] = []
    trained = train(small_data, LEARNED["budget"], SHORT, seed=0, progress=reports.append)
    off = ~torch.eye(3, dtype=torch.bool)
    last = relative(trained.trajectory[-1])[off]
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert reports[-1].lambda_mean == pytest.approx(float(last.mean()))
    assert (reports[-1].lambda_min, reports[-1].lambda_max) == (float(last.min()), float(last.max()))
    assert reports[-1].lambda_small == 0
    assert reports[0].lr > reports[1].lr > reports[3].lr == pytest.approx(0, abs=1e-12)
    assert describe(replace(reports[-1], selection=0.25, lambda_small=0.5, lr=0.001)).startswith("RMSE 0.250 · λ ")
    assert describe(replace(reports[-1], lambda_small=0.5, lr=0.001)).endswith("50% below 0.1) · lr 1.0e-03")
    zero: list[EpochReport] = []
    train(small_data, constant("lambda=0", "", 0.0), Settings(epochs=1), seed=0, progress=zero.append)
    assert (zero[0].lambda_max, zero[0].lambda_small) == (0, 1)
