"""Figure 1: the facts against numbers known beforehand, and a whole small run."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bilevel_hpo import DivergedError
from bilevel_hpo.comparison import run_methods
from bilevel_hpo.run_folder import read_json
from gate_model.data.prepared import PreparedData, prepare
from gate_model.experiments import figure_1 as module
from gate_model.experiments.compare import grid_of
from gate_model.experiments.figure_1 import figure_1
from gate_model.experiments.figure_1_findings import findings, paragraph
from gate_model.experiments.record import setting_of
from gate_model.experiments.trainings import Trainings
from gate_model.model.settings import NetworkSettings
from gate_model.training.methods import LEARNED
from gate_model.training.settings import Settings
from gate_model.training.train import train

SMALL = NetworkSettings(embedding_hidden=32, d=16, k=8, hidden=16)
NAMES = ("DS|HV", "DS|BP", "HV|BP")
AXIS = (0.0, 0.5, 1.0, 2.0)
SHORT = Settings(epochs=2, network=SMALL)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def table(effect: float, noise: float, n_seeds: int) -> pd.DataFrame:
    """RMSE 1 + seed + effect·x + noise, x the first λ standardised over the grid; the test RMSE of a winner is 9."""
    rng = np.random.default_rng(0)
    grid = pd.DataFrame(list(product(AXIS, repeat=3)), columns=NAMES)
    x = (grid[NAMES[0]] - grid[NAMES[0]].mean()) / grid[NAMES[0]].std()
    frames = []
    for seed in range(n_seeds):
        val = 1 + seed + effect * x + noise * rng.standard_normal(len(grid))
        test = np.where(np.arange(len(grid)) == val.argmin(), 9.0 + seed, np.nan)
        frames.append(grid.assign(grid="g", seed=seed, val_rmse=val, test_rmse=test, seconds=2.0))
    return pd.concat(frames, ignore_index=True)


def learned(n_seeds: int) -> pd.DataFrame:
    rows = [
        {"method": "m", "seed": s, **dict.fromkeys(NAMES, 0.5), "val_rmse": 1.0, "test_rmse": 9.0, "seconds": 3.0}
        for s in range(n_seeds)
    ]
    return pd.DataFrame(rows)


def test_findings_tell_the_effect_of_lambda_from_chance() -> None:
    pure = findings(table(0.5, 0.0, 3), learned(3), NAMES)["grids"]["g"]
    assert pure["noise"] == pytest.approx(0, abs=1e-12)
    assert pure["effect"] == pytest.approx(0.5)
    assert pure["agreement"] == pytest.approx(1)
    assert pure["spread_of_levels"] == pytest.approx(1)
    assert pure["best"][NAMES[0]] == 0.0
    profile = pure["profile"][NAMES[0]]
    assert profile["2.0"] - profile["0.0"] == pytest.approx(0.5 * 2 / pd.Series(np.repeat(AXIS, 16)).std())
    assert pure["rise"][NAMES[0]] == {
        "mean": pytest.approx(profile["2.0"] - profile["0.0"]),
        "std": pytest.approx(0, abs=1e-9),
    }
    assert pure["rise"][NAMES[1]]["mean"] == pytest.approx(0, abs=1e-12)
    chance = findings(table(0.0, 0.5, 30), learned(30), NAMES)["grids"]["g"]
    assert chance["noise"] == pytest.approx(0.5, rel=0.05)
    assert chance["effect"] < 0.05
    assert abs(chance["agreement"]) < 0.05


def test_learned_lambda_is_compared_with_the_winner_of_the_same_seed() -> None:
    facts = findings(table(0.5, 0.1, 3), learned(3), NAMES)
    gap = facts["learned"]["m"]["against"]["g"]
    assert gap == {"mean": pytest.approx(-1), "std": pytest.approx(1), "better": 2}
    assert "minus that of the winner of grid `g` -1.0000 ± 1.0000 over the seeds (better in 2 of 3)" in paragraph(facts)


def test_a_run_is_resumed_and_looks_at_test_molecules_for_winners_only(
    small_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRIDS", {"a": (0.2, 1.0), "b": (0.0, 1.0)})
    datasets = {0: small_data, 1: prepare(small_data.table, seed=1)}
    seen: list[tuple[int, int]] = []
    for folder in (tmp_path / "whole", tmp_path / "stopped"):
        figure_1(folder, datasets, SHORT, population=3, on=1, command="c", progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (2 * (9 + 9 + 2), 40)
    for path in (tmp_path / "stopped").glob("*.csv"):
        path.unlink()
    lost = [*(tmp_path / "stopped" / "jobs").glob("a-seed1*")]
    assert {path.name for path in lost} >= {"a-seed1.journal", "a-seed1-8.json"}
    for path in lost:
        path.unlink()
    figure_1(tmp_path / "stopped", datasets, SHORT, population=3, on=1, command="c")
    points = pd.read_csv(tmp_path / "whole" / "points.csv")
    again = pd.read_csv(tmp_path / "stopped" / "points.csv")
    pd.testing.assert_frame_equal(points.drop(columns="seconds"), again.drop(columns="seconds"))
    assert points.groupby(["grid", "seed"]).size().eq(8).all()
    winners = points.loc[points.groupby(["grid", "seed"])["val_rmse"].idxmin()]
    assert sorted(winners.index) == sorted(points.index[points["test_rmse"].notna()])
    alone = train(small_data, LEARNED["direct"], SHORT, seed=0)
    facts = read_json(tmp_path / "whole" / "findings.json")
    assert facts["learned"]["direct"]["val"][0] == pytest.approx(alone.val_rmse)
    assert "plotly" in (tmp_path / "whole" / "a.html").read_text()


def test_a_grid_in_populations_finds_what_one_by_one_finds(small_data: PreparedData, tmp_path: Path) -> None:
    trainings, found = Trainings({0: small_data}, replace(SHORT, epochs=3)), []
    for population in (1, 3):
        grid = grid_of((0.0, 1.0), population=population)
        setting = setting_of(tmp_path / f"{population}", small_data.abbreviations, {})
        found.append(run_methods(trainings, [grid], [0], setting, together=trainings.together)["grid", 0])
    alone, together = found
    assert together.trained.lambda_ == alone.trained.lambda_
    assert together.trained.test == pytest.approx(alone.trained.test)
    assert [trial.params for trial in together.trials] == [trial.params for trial in alone.trials]
    assert [t.selection for t in together.trials] == pytest.approx([t.selection for t in alone.trials], abs=1e-5)


@pytest.mark.filterwarnings("ignore::bilevel_hpo.NonFiniteWarning")
def test_a_training_that_diverges_ends_the_figure(
    small_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRIDS", {"a": (0.2, 1.0)})
    datasets, wild = {0: small_data}, replace(SHORT, lr=1e30)
    with pytest.raises(DivergedError, match="the training of a diverged in epoch 1"):
        figure_1(tmp_path / "together", datasets, wild, population=8, on=1, command="c")
    with pytest.raises(DivergedError, match="budget, seed 0: the training diverged in epoch 1"):
        figure_1(tmp_path / "one by one", datasets, wild, population=1, on=1, command="c")
