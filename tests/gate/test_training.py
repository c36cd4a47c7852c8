from pathlib import Path

import numpy as np
import pytest
import torch

from gate_model.data.prepared import PreparedData
from gate_model.experiments.search import check_size, run_search
from gate_model.methods import LEARNED, Constant, Method, pairs, relative, symmetric_matrix
from gate_model.training import Settings, predict, resolve_device, rmse, train

SHORT = Settings(epochs=4)
TASKS = ("DS", "HV", "BP")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("method", [*LEARNED.values(), Constant("lambda=1", "", 1.0)], ids=lambda m: m.name)
def test_a_seed_gives_the_same_bits_and_resume_equals_an_uninterrupted_run(
    small_data: PreparedData, method: Method, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(epoch: int, epochs: int, score: float) -> None:
        if epoch == 2:
            raise KilledError

    whole = train(small_data, method, SHORT, seed=3)
    with pytest.raises(KilledError):
        train(small_data, method, SHORT, seed=3, checkpoint=tmp_path / "c.pt", progress=kill)
    resumed = train(small_data, method, SHORT, seed=3, checkpoint=tmp_path / "c.pt")
    assert torch.equal(whole.ratios, resumed.ratios)
    assert torch.equal(whole.trajectory, resumed.trajectory)
    for (name, a), b in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert [row["val_rmse"] for row in whole.history] == [row["val_rmse"] for row in resumed.history]


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


def test_grid_resumes_from_its_journal_and_chooses_the_winner_on_selection(
    small_data: PreparedData, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(done: int) -> None:
        if done == 3:
            raise KilledError

    settings = Settings(epochs=1)
    arguments = {"seed": 0, "values": (0.0, 1.0), "trials": 8}
    found, whole = run_search("grid", small_data, settings, journal=tmp_path / "a", **arguments)
    with pytest.raises(KilledError):
        run_search("grid", small_data, settings, journal=tmp_path / "b", after_trial=kill, **arguments)
    again, resumed = run_search("grid", small_data, settings, journal=tmp_path / "b", **arguments)
    columns = [*pairs(TASKS), "val_rmse"]
    assert whole[columns].equals(resumed[columns])
    assert len(whole) == 8
    assert found.test_rmse == again.test_rmse
    assert found.training_runs == 8
    best = whole.loc[whole["val_rmse"].idxmin()]
    assert found.lambda_[0][1] == best["DS|HV"]
    assert np.mean(found.val_rmse) == pytest.approx(best["val_rmse"], abs=0)


def test_symmetric_matrix_and_relative_units() -> None:
    matrix = symmetric_matrix(TASKS, {"DS|HV": 0.2, "DS|BP": 0.6, "HV|BP": 1.0})
    assert matrix == ((1.0, 0.2, 0.6), (0.2, 1.0, 1.0), (0.6, 1.0, 1.0))
    weights = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.05, 0.05, 0.9]])
    expected = torch.tensor([[1.0, 0.25, 0.25], [0.8, 1.0, 1.2], [1 / 9, 1 / 9, 1.0]])
    torch.testing.assert_close(relative(weights), expected)


def test_a_grid_that_nobody_would_wait_for_is_refused() -> None:
    assert check_size(TASKS, (0.2, 0.6, 1.0)) == 27
    with pytest.raises(ValueError, match="gate learn"):
        check_size([f"t{i}" for i in range(6)], (0.2, 0.6, 1.0))


def test_unknown_device_is_named() -> None:
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match="--device warp"):
        resolve_device("warp")
