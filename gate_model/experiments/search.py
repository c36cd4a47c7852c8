"""Grid and TPE over symmetric λ: one training a point, the winner chosen on the selection molecules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import optuna
import pandas as pd
import torch

from bilevel_hpo import search
from gate_model.data.prepared import PreparedData
from gate_model.experiments.outcome import Outcome, outcome
from gate_model.methods import Constant, pairs, symmetric_matrix
from gate_model.population import train_population
from gate_model.training import Settings, train

__all__ = ["MAX_POINTS", "Searched", "check_size", "run_search", "trials_frame"]

MAX_POINTS = 1000
GRID_VALUES = (0.2, 0.6, 1.0)
TITLES = {"grid": "grid search over symmetric λ", "tpe": "TPE search over symmetric λ"}

Searched = tuple[Outcome, pd.DataFrame]
"""The winner, trained once more and evaluated, and the table of all trials."""


def check_size(tasks: Sequence[str], values: Sequence[float]) -> int:
    """Number of points of the grid; ValueError if nobody would wait for it."""
    points = int(len(values) ** len(pairs(tasks)))
    if points > MAX_POINTS:
        raise ValueError(
            f"a grid of {len(values)} values over the {len(pairs(tasks))} pairs of {len(tasks)} tasks has {points:.3g} "
            f"points, more than {MAX_POINTS}: name fewer tasks or values, or learn λ in one training with `gate learn`"
        )
    return points


def run_search(
    kind: Literal["grid", "tpe"],
    data: PreparedData,
    settings: Settings,
    *,
    seed: int,
    journal: Path,
    values: Sequence[float],
    trials: int,
    population: int = 1,
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
        population: points of the grid that are trained in one, see `train_population`.
        device: CPU when left out.
        after_trial: called after every training with the number of complete trials.
    """
    tasks = data.abbreviations

    def method(values: Mapping[str, float]) -> Constant:
        return Constant(kind, TITLES[kind], symmetric_matrix(tasks, values))

    def objective(values: Mapping[str, float]) -> float:
        return train(data, method(values), settings, seed=seed, device=device).val_rmse

    def together(points: Sequence[Mapping[str, float]]) -> list[float]:
        methods = [method(values) for values in points]
        return [each.val_rmse for each in train_population(data, methods, settings, seed=seed, device=device)]

    def done(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        after_trial(len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))))

    if kind == "grid":
        axes = {pair: list(values) for pair in pairs(tasks)}
        asked = together if population > 1 else objective
        study = search.grid(asked, axes, journal, population=population, callbacks=[done])
    else:
        bounds = {pair: (min(values), max(values)) for pair in pairs(tasks)}
        study = search.tpe(objective, bounds, journal, trials=trials, seed=seed, callbacks=[done])
    frame = trials_frame(study, kind, seed, tasks)
    best = method(search.best(study).params)
    winner = outcome(data, best, train(data, best, settings, seed=seed, device=device), seed=seed)
    return replace(winner, wall_s=float(frame["wall_s"].sum()), training_runs=len(frame)), frame


def trials_frame(study: optuna.Study, kind: str, seed: int, tasks: Sequence[str]) -> pd.DataFrame:
    """Complete trials in the order of evaluation: method, seed, trial, one column per λ, val_rmse, wall_s."""
    complete = search.trials(study)
    rows = [
        {"method": kind, "seed": seed, "trial": number}
        | {pair: trial.params[pair] for pair in pairs(tasks)}
        | {"val_rmse": trial.value, "wall_s": search.seconds_of(trial)}
        for number, trial in enumerate(complete)
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "trial", *pairs(tasks), "val_rmse", "wall_s"])
