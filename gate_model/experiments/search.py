"""Grid and TPE over symmetric λ: one training a point, the winner chosen on the selection molecules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import pandas as pd
import torch
from optuna.pruners import MedianPruner
from optuna.trial import TrialState

from bilevel_hpo import search
from gate_model.data.prepared import PreparedData
from gate_model.experiments.outcome import Outcome, outcome
from gate_model.methods import SHARED, Constant, pairs, symmetric_matrix
from gate_model.population import train_population
from gate_model.training import EpochReport, Settings, train

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
    storage: str | Path,
    values: Sequence[float],
    trials: int | None,
    shared: bool = False,
    epochs: int | None = None,
    prune: bool = False,
    population: int = 1,
    study_name: str | None = None,
    device: torch.device | None = None,
    after_trial: Callable[[int], object] = lambda done: None,
) -> Searched:
    """Search λ, then train the winner again with the same seed and look at its test molecules, once.

    Args:
        kind: "grid" over `values`, or "tpe" between the smallest and the largest of them.
        data: molecules and split.
        settings: of each training, the same as for every other method.
        seed: of every training and of TPE.
        storage: Optuna's journal file or the URL of a database; complete trials in it are not trained again.
        values: the values of each λ.
        trials: finished trials for TPE; None if `epochs` alone ends it.
        shared: search one λ for all pairs instead of one for each: the way for many tasks.
        epochs: of TPE, epochs of all trainings together after which none is begun.
        prune: end a training whose RMSE after an epoch is worse than the median of the trials before it.
        population: most points of a grid to train in one, see `train_population`; 1 with `prune`.
        study_name: `kind` when left out.
        device: CPU when left out.
        after_trial: called after every training with the number of finished trials.
    """
    tasks = data.abbreviations
    names = [SHARED] if shared else pairs(tasks)

    def method(values: Mapping[str, float]) -> Constant:
        if shared:
            return Constant(kind, SHARED_TITLES[kind], values[SHARED])
        return Constant(kind, TITLES[kind], symmetric_matrix(tasks, values))

    def objective(point: search.Point) -> float:
        def report(epoch: EpochReport) -> None:
            point.report(epoch.val_rmse, epoch.epoch)

        return train(data, method(point), settings, seed=seed, device=device, progress=report).val_rmse

    def together(points: Sequence[search.Point]) -> list[float]:
        members = train_population(data, [method(point) for point in points], settings, seed=seed, device=device)
        for point, member in zip(points, members, strict=True):
            for row in member.history:
                point.report(row["val_rmse"], int(row["epoch"]))
        return [member.val_rmse for member in members]

    def done(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        after_trial(len(search.trials(study)))

    labels = int(np.isfinite(data.table.labels).sum())
    about = {"molecules": len(data.table.smiles), "labels": labels, "seed": seed, "settings": asdict(settings)}
    pruner = MedianPruner(n_warmup_steps=settings.epochs // 3) if prune else None
    common: dict[str, Any] = {"name": study_name or kind, "pruner": pruner, "callbacks": [done], "about": about}
    if kind == "grid":
        axes = {name: list(values) for name in names}
        asked = together if population > 1 else objective
        study = search.grid(asked, axes, storage, population=population, **common)
    else:
        bounds = {name: (min(values), max(values)) for name in names}
        study = search.tpe(objective, bounds, storage, trials=trials, epochs=epochs, seed=seed, **common)
    best = method(search.best(study).params)
    winner = outcome(data, best, train(data, best, settings, seed=seed, device=device), seed=seed)
    finished = search.trials(study)
    seconds = sum(search.seconds_of(trial) for trial in finished)
    return replace(winner, wall_s=seconds, training_runs=len(finished)), trials_frame(study, kind, seed, names)


def trials_frame(study: optuna.Study, kind: str, seed: int, names: Sequence[str]) -> pd.DataFrame:
    """Complete trials in the order of the search: method, seed, trial, one column per λ, val_rmse, wall_s."""
    rows = [
        {"method": kind, "seed": seed, "trial": number}
        | {name: trial.params[name] for name in names}
        | {"val_rmse": trial.value, "wall_s": search.seconds_of(trial)}
        for number, trial in enumerate(search.trials(study))
        if trial.state is TrialState.COMPLETE
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "trial", *names, "val_rmse", "wall_s"])
