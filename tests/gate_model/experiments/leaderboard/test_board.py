"""Rows of the leaderboard against numbers worked by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bilevel_hpo import comparison
from bilevel_hpo.comparison import Run, Trained, run_methods
from gate_model.experiments.leaderboard.board import rows_of, write_board
from gate_model.experiments.leaderboard.table import UNIFORM, UNIFORM_VALUES, entries_of, methods_of
from gate_model.experiments.record import setting_of


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def answer(test: list[float], val: list[float], seconds: float = 1.0) -> comparison.Answer:
    tasks = ["A", "B"]
    scores = (dict(zip(tasks, values, strict=True)) for values in (val, test))
    trained = Trained(*scores, seconds=seconds, extra={"test_units": [10 * value for value in test]})
    return comparison.Answer(trained, 1, seconds, seconds, 0)


def test_the_best_uniform_lambda_is_chosen_on_selection_and_pays_for_all(tmp_path: Path) -> None:
    """Seed 0: λ = 0.1 is best on selection, seed 1: λ = 1; the test RMSE would choose otherwise."""
    best = {0: 0.1, 1: 1.0}

    def training(run: Run) -> Trained:
        value = float(run.method.removeprefix("lambda="))
        place = UNIFORM_VALUES.index(value)
        val = 0.2 if value == best[run.seed] else 0.3
        if (value, run.seed) == (0.02, 1):
            return Trained({}, seconds=2.0, failure="the training diverged in epoch 2")
        return answer([place + 1.0, place + 2.0], [val, val], seconds=2.0).trained

    methods, setting = methods_of(entries_of([UNIFORM]), {}), setting_of(tmp_path, ["A", "B"], {})
    (row,) = rows_of([UNIFORM], run_methods(training, methods, [0, 1], setting))
    assert row.test.tolist() == [[4.0, 5.0], [8.0, 9.0]]
    assert row.training_runs == len(UNIFORM_VALUES) == 8
    assert row.seconds == 16.0
    assert row.note == "chosen: 0.1, 1"


def test_a_diverged_training_is_shown_and_in_no_number(tmp_path: Path) -> None:
    answers = {
        ("budget", 0): answer([0.2, 0.4], [0.2, 0.2]),
        ("budget", 1): answer([0.4, 0.4], [0.2, 0.2]),
        ("lambda=1", 0): answer([0.4, 0.8], [0.2, 0.2]),
        ("lambda=1", 1): answer([0.4, 0.2], [0.2, 0.2]),
        ("direct", 0): answer([0.1, 0.2], [0.2, 0.2], seconds=5.0),
        ("direct", 1): comparison.Answer(Trained({}, failure="the training diverged in epoch 2"), 1, 0.0, 0.0, 0),
    }
    rows = rows_of(["budget", "direct", "lambda=1"], answers)
    assert [row.method for row in rows] == ["direct", "budget", "lambda=1"]
    facts = {"tasks": ["A", "B"], "units": {"A": "K", "B": "Pa"}, "molecules": 9}
    write_board(tmp_path, rows, facts | {"split": "scaffold", "fraction": 0.5, "epochs": 3})
    board = pd.read_csv(tmp_path / "leaderboard.csv").set_index("method")
    assert board.loc["direct", "seeds"] == 1
    assert board.loc["direct", "failures"] == "seed 1: the training diverged in epoch 2"
    assert board.loc["direct", "ratio to lambda=1"] == pytest.approx(0.25), "on seed 0 alone"
    assert board.loc["budget", "ratio to lambda=1"] == pytest.approx((0.5 + 0.5 + 1 + 2) / 4)
    assert board.loc["budget", "rmse_std"] == pytest.approx(np.std([0.3, 0.4], ddof=1))
    compared = pd.read_csv(tmp_path / "comparisons.csv").set_index(["method", "against"])
    assert compared.loc[("budget", "best at no higher cost"), "reference"] == "lambda=1", "`direct` costs five times"
    assert compared.loc[("direct", "best at no higher cost"), "reference"] == "budget"
    tasks = pd.read_csv(tmp_path / "per_task.csv").set_index(["method", "task"])
    assert tasks.loc[("budget", "A"), ["rmse", "rmse_units", "unit"]].tolist() == pytest.approx([0.3, 3.0, "K"])
    page = (tmp_path / "leaderboard.md").read_text()
    assert "| `budget`: learned: one step on a budget | 0.3500 ± 0.0707 | 1.000, 2/2" in page
    assert "`direct`: seed 1: the training diverged in epoch 2" in page
