"""A point of a search, the result of its evaluation, and the Optuna trial made from both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

__all__ = ["SECONDS", "SLOT", "Asked", "Evaluated", "epochs_of", "is_searched", "made_trial"]

SLOT = "slot"
"""User attribute of a trial: the number of its grid point or proposal."""
SECONDS = "seconds"
"""User attribute of a trial: wall-clock time of its evaluation, or its share if several are evaluated together."""


@dataclass(frozen=True)
class Asked:
    """A point that is to be evaluated; plain JSON by `dataclasses.asdict`."""

    slot: int
    """The place in the search, from 0."""
    params: Mapping[str, float]
    """λ by name."""


@dataclass(frozen=True)
class Evaluated:
    """The result of evaluating a point."""

    value: float
    """The value to minimise; NaN counts as infinity. It is not used if the training was pruned."""
    seconds: float
    reports: Mapping[int, float] = field(default_factory=dict)
    """Epoch -> validation loss."""
    pruned: bool = False
    marks: Mapping[str, Any] = field(default_factory=dict)
    """The attributes that the pruner has set at this trial for later decisions: Optuna's system attributes."""


def made_trial(asked: Asked, found: Evaluated, distributions: Mapping[str, FloatDistribution]) -> FrozenTrial:
    """Returns the finished trial. As in Optuna, the value of a pruned one is its last loss, unless that is NaN."""
    if found.pruned:
        last = found.reports[max(found.reports)] if found.reports else math.nan
        state, value = TrialState.PRUNED, None if math.isnan(last) else last
    else:
        state, value = TrialState.COMPLETE, math.inf if math.isnan(found.value) else found.value
    trial = create_trial(
        state=state,
        value=value,
        params=dict(asked.params),
        distributions=dict(distributions),
        user_attrs={SLOT: asked.slot, SECONDS: found.seconds},
        system_attrs=dict(found.marks),
        intermediate_values=dict(found.reports),
    )
    if trial.datetime_complete is not None:
        trial.datetime_start = trial.datetime_complete - timedelta(seconds=found.seconds)
    return trial


def is_searched(trial: FrozenTrial) -> bool:
    """Whether it is a finished trial of the search: neither failed, nor enqueued, nor recorded."""
    return SLOT in trial.user_attrs and trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def epochs_of(trial: FrozenTrial) -> int:
    """Returns the number of epochs that the objective of a trial reported."""
    return trial.last_step or 0
