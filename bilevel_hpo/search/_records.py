"""What stands in a study: the trials of the search, its winner, and learned λ beside them."""

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
    """The winner of the search: the complete trial with the lowest value, without recorded λ.

    Of equal ones the first in the order of the search, whoever evaluated it first. `study.best_trial` is different: it
    counts recorded λ in.

    Raises:
        ValueError: no trial of the search is complete.
    """
    complete = [trial for trial in trials(study) if trial.state is TrialState.COMPLETE]
    if not complete:
        raise ValueError(f"study {study.study_name!r} has no complete trial of a search")
    return min(complete, key=lambda trial: trial.values[0])


def trials(study: optuna.Study) -> list[FrozenTrial]:
    """Finished trials of the search, complete or pruned, in its order: of a grid that of the points."""
    found = [trial for trial in study.get_trials(deepcopy=False) if is_searched(trial)]
    return sorted(found, key=lambda trial: (trial.user_attrs[SLOT], trial.number))


def is_ours_to_finish(study: optuna.Study) -> bool:
    """True: a search has one driver, which finishes it. Deprecated; it will be removed in the next release."""
    warnings.warn("is_ours_to_finish is always True now and will be removed", DeprecationWarning, stacklevel=2)
    return True


def epochs_used(study: optuna.Study) -> int:
    """Epochs of all finished trials of the search: the budget to give a rival."""
    return sum(epochs_of(trial) for trial in trials(study))


def seconds_of(trial: FrozenTrial) -> float:
    """Wall-clock seconds; of a population each trial's share."""
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
    """Put a learned λ into `study` as a complete trial, beside those of the search, which it does not influence.

    Values outside the study's bounds are allowed; such a trial carries its own distribution.

    Args:
        study: of a search.
        lambda_: λ by name, such as `space.params()`.
        value: its validation loss.
        history: λ after each epoch; kept as the user attribute "history", a list for each name.
        validation: validation loss after each epoch; the trial's intermediate values.
        attributes: further user attributes, JSON.

    Returns:
        The trial; its user attribute "learned" is True.
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
    """Have λ evaluated next by a search with `tpe`, `gp` or `random`, which learns from its value.

    It is kept in the study until it is evaluated, whatever happens to the search in between.

    Raises:
        ValueError: a λ outside the study's bounds, or names that are not the study's.
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
    """The warm start that `slot` has been given, or the first that is left, which is given to it; None without one."""
    starts = study.user_attrs.get(_STARTS, [])
    for wanted in (slot, None):
        for start in starts:
            if start["slot"] == wanted:
                start["slot"] = slot
                study.set_user_attr(_STARTS, starts)
                return dict(start["lambda"])
    return None
