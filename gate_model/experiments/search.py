"""Grid and TPE over symmetric λ: one training a point, the winner chosen on the selection molecules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
import pandas as pd
import torch

from bilevel_hpo import search
from gate_model.data.prepared import PreparedData
from gate_model.experiments.outcome import Outcome, outcome
from gate_model.methods import SHARED, Constant, pairs, symmetric_matrix
from gate_model.training import Settings, train

__all__ = ["MAX_POINTS", "Searched", "check_size", "run_search", "shared_values", "too_many", "trials_frame"]

MAX_POINTS = 1000
GRID_VALUES = (0.2, 0.6, 1.0)
TITLES = {"grid": "grid search over symmetric λ", "tpe": "TPE search over symmetric λ"}
SHARED_TITLES = {"grid": "grid search over one λ for all pairs", "tpe": "TPE search over one λ for all pairs"}

Searched = tuple[Outcome, pd.DataFrame]
"""The winner, trained once more and evaluated, and the table of all trials."""


def too_many(tasks: Sequence[str], values: Sequence[float]) -> bool:
    """Would a grid of `values` over a λ for each pair have more than `MAX_POINTS` points?"""
    return bool(len(values) ** len(pairs(tasks)) > MAX_POINTS)


def check_size(tasks: Sequence[str], values: Sequence[float]) -> int:
    """Number of points of the grid; ValueError if nobody would wait for it."""
    if too_many(tasks, values):
        raise ValueError(
            f"a grid of {len(values)} values over the {len(pairs(tasks))} pairs of {len(tasks)} tasks has "
            f"{len(values)}^{len(pairs(tasks))} points, more than {MAX_POINTS}: name fewer tasks or values, or learn λ "
            "in one training with `gate learn`"
        )
    return int(len(values) ** len(pairs(tasks)))


def shared_values(values: Sequence[float]) -> tuple[float, ...]:
    """The grid of one λ for all pairs: `values` if they are eight or more, else nine over their range."""
    if len(values) >= 8:
        return tuple(values)
    return tuple(np.linspace(min(values), max(values), 9).round(12).tolist())


def run_search(
    kind: Literal["grid", "tpe"],
    data: PreparedData,
    settings: Settings,
    *,
    seed: int,
    journal: Path,
    values: Sequence[float],
    trials: int,
    shared: bool = False,
    device: torch.device | None = None,
    after_trial: Callable[[int], object] = lambda done: None,
) -> Searched:
    """Search λ, then train the winner again with the same seed and look at its test molecules, once.

    Args:
        kind: "grid" over `values`, or "tpe" between the smallest and the largest of them.
        data: molecules and split.
        settings: of each training, the same as for every other method.
        seed: of every training and of TPE.
        journal: Optuna's journal file; complete trials in it are not trained again.
        values: the values of each λ.
        trials: complete trials for TPE.
        shared: search one λ for all pairs instead of one for each: the way for many tasks.
        device: CPU when left out.
        after_trial: called after every training with the number of complete trials.
    """
    tasks = data.abbreviations
    names = [SHARED] if shared else pairs(tasks)

    def method(values: Mapping[str, float]) -> Constant:
        if shared:
            return Constant(kind, SHARED_TITLES[kind], values[SHARED])
        return Constant(kind, TITLES[kind], symmetric_matrix(tasks, values))

    def objective(values: Mapping[str, float]) -> float:
        return train(data, method(values), settings, seed=seed, device=device).val_rmse

    def done(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        after_trial(len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))))

    if kind == "grid":
        axes = {pair: list(values) for pair in names}
        study = search.grid(objective, axes, journal, callbacks=[done])
    else:
        bounds = {pair: (min(values), max(values)) for pair in names}
        study = search.tpe(objective, bounds, journal, trials=trials, seed=seed, callbacks=[done])
    frame = trials_frame(study, kind, seed, names)
    best = method(study.best_params)
    winner = outcome(data, best, train(data, best, settings, seed=seed, device=device), seed=seed)
    return replace(winner, wall_s=float(frame["wall_s"].sum()), training_runs=len(frame)), frame


def trials_frame(study: optuna.Study, kind: str, seed: int, names: Sequence[str]) -> pd.DataFrame:
    """Complete trials in the order of evaluation: method, seed, trial, one column per λ, val_rmse, wall_s."""
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    rows = [
        {"method": kind, "seed": seed, "trial": number}
        | {name: trial.params[name] for name in names}
        | {"val_rmse": trial.value, "wall_s": trial.duration.total_seconds() if trial.duration else 0.0}
        for number, trial in enumerate(complete)
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "trial", *names, "val_rmse", "wall_s"])
