"""The intermediate reports of a training, and whether a pruner ends it."""

import copy
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from bilevel_hpo.search._rules import silent_study

__all__ = ["Reports"]


class Reports:
    """The reports of one training, which the pruner sees in a separate study.

    So the decision to prune depends only on the contents of the job, not on the process that runs it.

    Args:
        pruner: the pruner, or None.
        slot: the place of the training in its search.
        before: the finished trials of earlier rounds, in order.
        name: the name of the study.
    """

    def __init__(
        self, pruner: BasePruner | None, slot: int = 0, before: Sequence[FrozenTrial] = (), name: str = "search"
    ) -> None:
        self.values: dict[int, float] = {}
        """Epoch -> loss."""
        self._study: optuna.Study | None = None
        self._trial: optuna.Trial | None = None
        if pruner is not None:
            # Pruners may remember what they saw first: a copy has seen what is brought along, in whichever process.
            sampler = RandomSampler(seed=0)
            self._study = silent_study(study_name=name, pruner=copy.deepcopy(pruner), sampler=sampler)
            self._study.add_trials(before)
            for _ in range(slot - len(before)):
                self._study.add_trial(create_trial(state=TrialState.FAIL))
            self._trial = self._study.ask()

    def report(self, value: float, epoch: int) -> None:
        """Raises optuna.TrialPruned if the pruner decides so; of several values of an epoch the first counts."""
        self.values.setdefault(epoch, value)
        if self._trial is not None:
            self._trial.report(value, epoch)
            if self._trial.should_prune():
                raise optuna.TrialPruned

    def marks(self) -> dict[str, Any]:
        """The attributes that the pruner has set."""
        if self._study is None or self._trial is None:
            return {}
        return dict(self._study.get_trials(deepcopy=False)[self._trial.number].system_attrs)
