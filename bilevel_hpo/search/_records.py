"""Read and extend a study: the trials of the search, its winner, and recorded learned λ."""

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from bilevel_hpo.search._trial import SECONDS, SLOT, epochs_of, is_searched

__all__ = ["best", "epochs_used", "is_ours_to_finish", "record", "seconds_of", "start_for", "trials", "warm_start"]

_LEARNED = "learned"
_STARTS = "warm starts"
"""User attribute of a study: λ to evaluate, each with the slot that it has been given, or None."""


def best(study: optuna.Study) -> FrozenTrial:
    """Returns the winner of the search: the complete trial with the lowest value, without recorded λ.

    Of equal trials it is the first in the order of the search, whichever was evaluated first. `study.best_trial` also
    counts recorded λ.

    Raises:
        ValueError: no trial of the search is complete.
    """
    complete = [trial for trial in trials(study) if trial.state is TrialState.COMPLETE]
    if not complete:
        raise ValueError(f"study {study.study_name!r} has no complete trial of a search")
    return min(complete, key=lambda trial: trial.values[0])


def trials(study: optuna.Study) -> list[FrozenTrial]:
    """Returns the finished trials of the search, complete or pruned, in its order (for a grid, that of the points)."""
    found = [trial for trial in study.get_trials(deepcopy=False) if is_searched(trial)]
    return sorted(found, key=lambda trial: (trial.user_attrs[SLOT], trial.number))


def is_ours_to_finish(study: optuna.Study) -> bool:
    """Returns True: a search has one driver, which finishes it. Deprecated; it will be removed in the next release."""
    warnings.warn("is_ours_to_finish is always True now and will be removed", DeprecationWarning, stacklevel=2)
    return True


def epochs_used(study: optuna.Study) -> int:
    """Returns the epochs of all finished trials of the search: the budget to give a rival."""
    return sum(epochs_of(trial) for trial in trials(study))


def seconds_of(trial: FrozenTrial) -> float:
    """Returns the wall-clock seconds of a trial; in a population, its share."""
    if SECONDS in trial.user_attrs:
        return float(trial.user_attrs[SECONDS])
    return trial.duration.total_seconds() if trial.duration is not None else 0.0


def record(
    study: optuna.Study,
    lambda_: Mapping[str, float],
    value: float,
    *,
    history: Sequence[Mapping[str, float]] = (),
    validation: Sequence[float] = (),
    **attributes: object,
) -> FrozenTrial:
    """Stores a learned λ in `study` as a complete trial, without influence on the search.

    Values outside the study's bounds are allowed; such a trial has its own distribution.

    Args:
        study: the study of a search.
        lambda_: the learned λ by name, such as `space.params()`.
        value: the validation loss of this λ.
        history: λ after each epoch; stored as the user attribute "history", a list for each name.
        validation: the validation loss after each epoch; stored as intermediate values.
        attributes: further user attributes in JSON.

    Returns:
        The trial, with the user attribute "learned" set to True.
    """
    found = (trial.distributions for trial in study.get_trials(deepcopy=False) if is_searched(trial))
    known = {name: each for name, each in next(found, {}).items() if isinstance(each, FloatDistribution)}
    inside = [name for name, v in lambda_.items() if name in known and known[name].low <= v <= known[name].high]
    distributions: dict[str, BaseDistribution] = {
        name: known[name] if name in inside else FloatDistribution(v, v) for name, v in lambda_.items()
    }
    learned: dict[str, object] = {_LEARNED: True}
    if history:
        learned["history"] = {name: [float(step[name]) for step in history] for name in lambda_}
    study.add_trial(
        create_trial(
            params=dict(lambda_),
            distributions=distributions,
            value=value,
            user_attrs=learned | attributes,
            intermediate_values={epoch: float(v) for epoch, v in enumerate(validation, 1)},
        )
    )
    return next(trial for trial in reversed(study.get_trials()) if _LEARNED in trial.user_attrs)


def warm_start(study: optuna.Study, lambda_: Mapping[str, float]) -> None:
    """Makes a search with `tpe`, `gp` or `random` evaluate λ next and learn from its value.

    λ stays in the study until it is evaluated, even if the search is interrupted.

    Raises:
        ValueError: λ lies outside the study's bounds, or has other names.
    """
    question = study.user_attrs.get("question", {})
    bounds: Mapping[str, Sequence[float]] = next((question[k] for k in ("tpe", "gp", "random") if k in question), {})
    if set(bounds) != set(lambda_):
        raise ValueError(f"λ has the names {sorted(lambda_)}; those of study {study.study_name!r} are {sorted(bounds)}")
    for name, value in lambda_.items():
        low, high = bounds[name]
        if not low <= value <= high:
            raise ValueError(f"λ {name} = {value:g} is outside [{low:g}, {high:g}], where this study searches")
    study.set_user_attr(_STARTS, [*study.user_attrs.get(_STARTS, []), {"slot": None, "lambda": dict(lambda_)}])


def start_for(study: optuna.Study, slot: int) -> Mapping[str, float] | None:
    """Returns the warm start of `slot`, or assigns it the first free one; None if there is none."""
    starts = study.user_attrs.get(_STARTS, [])
    for wanted in (slot, None):
        for start in starts:
            if start["slot"] == wanted:
                start["slot"] = slot
                study.set_user_attr(_STARTS, starts)
                return dict(start["lambda"])
    return None
