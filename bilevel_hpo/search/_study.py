"""Grid and TPE as ordinary Optuna studies that go on where they stopped."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

__all__ = ["Objective", "grid", "record", "tpe"]

Objective = Callable[[Mapping[str, float]], float]
"""λ by name ↦ the value to minimise, a validation loss; NaN (a training that diverged) is taken for infinity."""

Storage = str | Path | BaseStorage | None


def grid(
    objective: Objective,
    space: Mapping[str, Sequence[float]],
    storage: Storage = None,
    *,
    name: str = "grid",
    callbacks: Sequence[Callable[[optuna.Study, FrozenTrial], None]] = (),
) -> optuna.Study:
    """Evaluate every point of a grid once.

    Points are handed to Optuna one by one; its `GridSampler` takes time quadratic in their number.

    Args:
        objective: λ by name ↦ validation loss.
        space: the values on each axis, in order.
        storage: a file for the journal, an Optuna storage, or nothing (in memory). With a file, points that are
            complete there are not evaluated again.
        name: of the study.
        callbacks: called with (study, trial) after each point.

    Returns:
        The study; `study.best_params` is the winner.
    """
    axes = _checked_space(space)
    distributions: dict[str, BaseDistribution] = {
        key: FloatDistribution(min(values), max(values)) if len(set(values)) > 1 else CategoricalDistribution(values)
        for key, values in axes.items()
    }
    study = _open(storage, name, optuna.samplers.RandomSampler(seed=0), {"grid": {k: list(v) for k, v in axes.items()}})
    done = {tuple(trial.params[key] for key in axes) for trial in _complete(study)}
    for point in product(*axes.values()):
        if point in done:
            continue
        params = dict(zip(axes, point, strict=True))
        study.enqueue_trial(params)
        trial = study.ask(distributions)
        _evaluate(study, trial, objective, params, callbacks)
    return study


def tpe(
    objective: Objective,
    space: Mapping[str, tuple[float, float]],
    storage: Storage = None,
    *,
    trials: int,
    seed: int = 0,
    name: str = "tpe",
    callbacks: Sequence[Callable[[optuna.Study, FrozenTrial], None]] = (),
) -> optuna.Study:
    """`trials` evaluations chosen by Optuna's tree-structured Parzen estimator.

    Each proposal depends on the seed and the complete trials alone: an interrupted search, taken up again with the same
    file, proposes what the uninterrupted one would have.

    Args:
        objective: λ by name ↦ validation loss.
        space: (low, high) for each λ.
        storage: as in `grid`.
        trials: complete evaluations to reach, those in the storage counted in.
        seed: of the sampler.
        name: of the study.
        callbacks: called with (study, trial) after each trial.

    Returns:
        The study.
    """
    axes = _checked_space(space)
    for key, bounds in axes.items():
        if len(bounds) != 2 or not bounds[0] < bounds[1]:
            raise ValueError(f"space[{key!r}] = {tuple(bounds)}; (low, high) with low < high is wanted")
    distributions: dict[str, BaseDistribution] = {
        key: FloatDistribution(bounds[0], bounds[1]) for key, bounds in axes.items()
    }
    study = _open(storage, name, None, {"tpe": {k: list(v) for k, v in axes.items()}, "seed": seed})
    while (done := len(_complete(study))) < trials:
        # One generator per proposal, seeded by its number: nothing in memory has to survive an interruption.
        study.sampler = optuna.samplers.TPESampler(seed=(seed * 1_000_003 + done) % 2**32)
        trial = study.ask(distributions)
        _evaluate(study, trial, objective, {key: float(trial.params[key]) for key in axes}, callbacks)
    return study


def record(study: optuna.Study, lambda_: Mapping[str, float], value: float, **attributes: object) -> FrozenTrial:
    """Put a learned λ into `study` as a complete trial, beside those of the search.

    Values outside the study's bounds are allowed: the trial carries its own distribution. Attributes are kept as the
    trial's user attributes.
    """
    distributions: dict[str, BaseDistribution] = {key: FloatDistribution(v, v) for key, v in lambda_.items()}
    study.add_trial(
        optuna.trial.create_trial(
            params=dict(lambda_),
            distributions=distributions,
            value=value,
            user_attrs={"learned": True, **attributes},
        )
    )
    return study.trials[-1]


def _checked_space(space: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    if not space:
        raise ValueError("space is empty; a mapping from each λ's name to its values is wanted")
    axes = {key: tuple(float(v) for v in values) for key, values in space.items()}
    for key, values in axes.items():
        if not values or len(set(values)) != len(values):
            raise ValueError(f"space[{key!r}] = {values}; at least one value, none of them twice, is wanted")
    return axes


def _open(
    storage: Storage, name: str, sampler: optuna.samplers.BaseSampler | None, question: dict[str, object]
) -> optuna.Study:
    if isinstance(storage, str | Path) and "://" not in str(storage):
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(storage)))
    elif isinstance(storage, Path):
        storage = str(storage)
    study = optuna.create_study(storage=storage, study_name=name, sampler=sampler, load_if_exists=True)
    asked = study.user_attrs.get("question")
    if asked is None:
        study.set_user_attr("question", question)
    elif asked != question:
        raise ValueError(
            f"study {name!r} in this storage was begun with {asked}, now {question} is asked; use another file"
        )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
        if trial.state is TrialState.RUNNING:  # left behind by a process that was killed; it is evaluated again
            study.tell(trial.number, state=TrialState.FAIL)
        else:  # queued by a process killed before it asked; `ask` would hand it out in place of a later point
            study.tell(study.ask(), state=TrialState.FAIL)
    return study


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in trials if not trial.user_attrs.get("learned")]


def _evaluate(
    study: optuna.Study,
    trial: Trial,
    objective: Objective,
    params: Mapping[str, float],
    callbacks: Sequence[Callable[[optuna.Study, FrozenTrial], None]],
) -> None:
    try:
        value = float(objective(params))
        if math.isnan(value):  # Optuna would fail the trial, and it would be proposed again and again
            value = math.inf
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise
    frozen = study.tell(trial, value)
    for callback in callbacks:
        callback(study, frozen)
