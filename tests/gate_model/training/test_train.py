"""Trainings of GATE: the same bits, what λ does, memory, failure."""

import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bilevel_hpo import DivergedError
from gate_model.data.prepared import PreparedData
from gate_model.model import mapping
from gate_model.model.evaluation import predict, rmse
from gate_model.training.checkpoints import Checkpoints
from gate_model.training.methods import LEARNED, Method, constant
from gate_model.training.progress import EpochReport
from gate_model.training.settings import Settings
from gate_model.training.train import train
from gate_model.training.trained import Trained

SHORT = Settings(epochs=4)


class KilledError(Exception):
    pass


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def assert_same(a: Trained, b: Trained) -> None:
    """To the bit, but for the seconds."""
    assert a.epoch == b.epoch
    assert torch.equal(a.ratios, b.ratios)
    assert torch.equal(a.trajectory, b.trajectory)
    for (name, x), y in zip(a.model.state_dict().items(), b.model.state_dict().values(), strict=True):
        assert torch.equal(x, y), name
    for row, other in zip([*a.history, *a.outer_steps], [*b.history, *b.outer_steps], strict=True):
        assert row | {"seconds": 0, "outer_seconds": 0} == other | {"seconds": 0, "outer_seconds": 0}
    assert a.verdict == b.verdict


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        *((method, SHORT) for method in (*LEARNED.values(), constant("lambda=1", "", 1.0))),
        (LEARNED["budget"], replace(SHORT, schedule="one-cycle")),
        (LEARNED["budget"], replace(SHORT, precision="bfloat16")),
        (LEARNED["budget"], replace(SHORT, lr=0.02, patience=2, epochs=12)),
        (LEARNED["budget"], replace(SHORT, top_k=1, rotation=2, geometry_share=0.5)),
        (LEARNED["budget"], replace(SHORT, relative_losses=False)),
    ],
    ids=[*LEARNED, "lambda=1", "one-cycle", "bfloat16", "early stopping", "top 1", "plain"],
)
def test_a_seed_gives_the_same_bits_and_resume_equals_an_uninterrupted_run(
    small_data: PreparedData, method: Method, settings: Settings, tmp_path: Path
) -> None:
    def kill(report: EpochReport) -> None:
        if report.epoch == 2:
            raise KilledError

    whole = train(small_data, method, settings, seed=3)
    with pytest.raises(KilledError):
        train(small_data, method, settings, seed=3, checkpoints=Checkpoints(tmp_path / "c.pt", 0), progress=kill)
    resumed = train(small_data, method, settings, seed=3, checkpoints=Checkpoints(tmp_path / "c.pt", 0))
    assert_same(whole, resumed)
    again = train(small_data, method, settings, seed=3, checkpoints=Checkpoints(tmp_path / "c.pt"))
    assert_same(whole, again)  # from the checkpoint at the end, without a step


def test_top_k_keeps_one_source_per_target_in_inner_steps_and_more_in_outer_ones(
    small_data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = mapping._block_gradient
    monkeypatch.setattr(
        mapping,
        "_block_gradient",
        lambda block, *rest, **kind: asked.append(len(block.sources)) or real(block, *rest, **kind),
    )
    settings = replace(SHORT, top_k=1, rotation=2)
    train(small_data, LEARNED["budget"].learning_with(outer_every=3, warm_up=0.0), settings, seed=0)
    assert asked.count(1) > asked.count(2) > 0, "two sources of three tasks in outer steps only"
    with pytest.raises(ValueError, match="top_k=0: it must be at least 1"):
        train(small_data, LEARNED["budget"], replace(SHORT, top_k=0), seed=0)


def test_lambda_moves_once_an_epoch_after_a_quarter_of_the_training(small_data: PreparedData) -> None:
    assert LEARNED["budget"].learning.schedule(epochs=30, steps=20) == (20, 150)
    assert LEARNED["direct"].learning.schedule(epochs=30, steps=20) == (8, 0)
    lambda_ = train(small_data, LEARNED["budget"], Settings(epochs=8), seed=0).trajectory
    moved = (lambda_[1:] != lambda_[:-1]).flatten(1).any(1).tolist()
    assert moved == [False] * 2 + [True] * 6
    only = train(small_data, LEARNED["budget"], Settings(epochs=1), seed=0).trajectory
    assert not torch.equal(only[0], only[1]), "in a single epoch too"


def test_a_training_that_diverges_says_so(small_data: PreparedData) -> None:
    with pytest.raises(DivergedError, match=r"diverged in epoch \d+ .*lr=1e\+30"):
        train(small_data, constant("lambda=1", "", 1.0), replace(SHORT, lr=1e30), seed=0)


def test_memory_does_not_grow_with_the_epochs(small_data: PreparedData, tmp_path: Path) -> None:
    """Beyond the λ that the histories keep: one per epoch, and with its hypergradient one per outer step."""
    counts, sizes = {}, {}

    def count(report: EpochReport) -> None:
        gc.collect()
        tensors = [found for found in gc.get_objects() if issubclass(type(found), torch.Tensor)]
        counts[report.epoch] = len(tensors)
        sizes[report.epoch] = sum(t.numel() for t in tensors)

    settings = Settings(epochs=6, patience=6)
    train(
        small_data,
        LEARNED["budget"],
        settings,
        seed=0,
        checkpoints=Checkpoints(tmp_path / "c.pt", 0),
        progress=count,
    )
    kept = 4 + 2 * 4  # an outer step an epoch, the first in the middle of the second
    assert counts[6] - counts[2] == kept
    assert sizes[6] - sizes[2] == kept * 9


def test_learned_budget_keeps_its_sum_and_direct_falls(small_data: PreparedData) -> None:
    budget = train(small_data, LEARNED["budget"], SHORT, seed=0)
    torch.testing.assert_close(budget.trajectory.sum(-1), torch.ones(5, 3))
    assert not torch.equal(budget.trajectory[0], budget.trajectory[-1])
    direct = train(small_data, LEARNED["direct"], SHORT, seed=0)
    off = ~torch.eye(3, dtype=torch.bool)
    assert (direct.ratios[off] < 1).all(), "the gradient of algorithm 3 is never negative"


def test_training_learns(small_data: PreparedData) -> None:
    trained = train(small_data, LEARNED["budget"], Settings(epochs=20), seed=0)
    x, labels = small_data.some(small_data.split.test)
    assert rmse(predict(trained.model, x), labels).mean() < 0.8, "predicting the mean has RMSE of about 1"
