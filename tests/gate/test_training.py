import gc
import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from bilevel_hpo import Direct, DivergedError, OneStep, TransferRatios
from bilevel_hpo.comparison import Answer, Progress, Searched, run_methods
from bilevel_hpo.run_folder import RunError
from gate_model.cli._device import resolve_device
from gate_model.cli._live import describe
from gate_model.data.prepared import PreparedData
from gate_model.experiments.compare import check_size, grid_of, shared_values, too_many, tpe_of
from gate_model.experiments.record import setting_of
from gate_model.experiments.trainings import Trainings
from gate_model.model import mapping
from gate_model.model.evaluation import predict, rmse
from gate_model.training.checkpoints import Checkpoints
from gate_model.training.methods import LEARNED, Method, constant, pairs, relative
from gate_model.training.progress import EpochReport
from gate_model.training.schedules import scheduler
from gate_model.training.settings import Settings
from gate_model.training.train import train
from gate_model.training.trained import Trained

SHORT = Settings(epochs=4)
TASKS = ("DS", "HV", "BP")


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
    with pytest.raises(ValueError, match="top_k >= 1"):
        train(small_data, LEARNED["budget"], replace(SHORT, top_k=0), seed=0)


def test_lambda_moves_once_an_epoch_after_a_quarter_of_the_training(small_data: PreparedData) -> None:
    assert LEARNED["budget"].learning.schedule(epochs=30, steps=20) == (20, 150)
    assert LEARNED["direct"].learning.schedule(epochs=30, steps=20) == (8, 0)
    lambda_ = train(small_data, LEARNED["budget"], Settings(epochs=8), seed=0).trajectory
    moved = (lambda_[1:] != lambda_[:-1]).flatten(1).any(1).tolist()
    assert moved == [False] * 2 + [True] * 6
    only = train(small_data, LEARNED["budget"], Settings(epochs=1), seed=0).trajectory
    assert not torch.equal(only[0], only[1]), "in a single epoch too"


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


def test_a_training_that_diverges_says_so(small_data: PreparedData) -> None:
    with pytest.raises(DivergedError, match=r"diverged in epoch \d+ .*lr=1e\+30"):
        train(small_data, constant("lambda=1", "", 1.0), replace(SHORT, lr=1e30), seed=0)


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


def test_schedules_reach_their_marks() -> None:
    """Cosine: lr·(1 + cos πn/N)/2. One cycle: from lr/25, up over 30 % of the steps, down to lr/250,000."""
    rates: dict[str, list[float]] = {}
    for name in ("cosine", "one-cycle"):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        schedule = scheduler(name, optimizer, 100)
        rates[name] = []
        for _ in range(100):
            rates[name].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        rates[name].append(optimizer.param_groups[0]["lr"])
    assert rates["cosine"] == pytest.approx([0.25 * (1 + math.cos(math.pi * n / 100)) for n in range(101)], abs=1e-9)
    assert rates["one-cycle"][0] == pytest.approx(0.02)
    assert max(rates["one-cycle"]) == pytest.approx(0.5, rel=1e-3)
    assert int(np.argmax(rates["one-cycle"])) == pytest.approx(30, abs=1)
    assert rates["one-cycle"][-1] == pytest.approx(2e-6, rel=1e-6)
    with pytest.raises(ValueError, match="schedule='step'"):
        scheduler("step", optimizer, 100)


def test_checkpoints_survive_a_crash_and_damage(tmp_path: Path) -> None:
    class UnwritableError(Exception):
        def __reduce__(self) -> str:
            raise self

    checkpoints = Checkpoints(tmp_path / "c.pt", minutes=0)
    assert checkpoints.load() is None
    for epoch in (1, 2):
        checkpoints.save({"epoch": epoch, "tensor": torch.full((1000,), float(epoch))})
    with pytest.raises(UnwritableError):  # dies while writing
        checkpoints.save({"tensor": torch.zeros(1000), "bad": UnwritableError()})
    assert {path.name for path in tmp_path.iterdir()} == {"c.pt", "c.previous.pt"}
    (tmp_path / "c.pt.tmp").write_bytes(b"half a check")  # what a kill while writing leaves
    state = checkpoints.load()
    assert state is not None
    assert state["epoch"] == 2
    whole = (tmp_path / "c.pt").read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(torch.full((8,), 2.0).numpy().tobytes())] ^= 0xFF
    for damaged in (whole[: len(whole) // 2], b"", bytes(flipped)):
        (tmp_path / "c.pt").write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"c\.pt is not a readable checkpoint"):
            state = checkpoints.load()
        assert state is not None
        assert state["epoch"] == 1
        assert state["tensor"].eq(1).all()
    (tmp_path / "c.previous.pt").write_bytes(b"neither")
    with pytest.raises(RunError, match=r"c\.pt.*c\.previous\.pt"):
        checkpoints.load()
    (tmp_path / "c.pt").unlink()
    (tmp_path / "c.previous.pt").unlink()
    assert Checkpoints(tmp_path / "c.pt", minutes=60).due() is False
    assert Checkpoints(tmp_path / "c.pt", minutes=0).due() is True


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


def test_unknown_device_is_named() -> None:
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match="--device warp"):
        resolve_device("warp")


def test_rmse_counts_labels_only_and_hides_no_nan_prediction() -> None:
    nan = np.nan
    labels = np.array([[1.0, nan, 3.0, nan], [2.0, 5.0, nan, nan]])
    predicted = np.array([[0.0, nan, 3.5, 1.0], [4.0, nan, nan, 1.0]])
    with np.errstate(all="raise"):
        np.testing.assert_allclose(rmse(predicted, labels), [np.sqrt((1 + 4) / 2), nan, 0.5, nan])
