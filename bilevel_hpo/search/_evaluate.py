"""Points evaluated in a worker process: the objective is called, its reports are kept, a pruner may end it."""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from bilevel_hpo.search._point import Objective, Point, PopulationObjective
from bilevel_hpo.search._rules import silent_study
from bilevel_hpo.search._trial import Asked, Evaluated

__all__ = ["Evaluate", "Together"]


@dataclass(frozen=True)
class Together:
    """Points that the objective gets in one call; a single one where there is no population."""

    points: tuple[Asked, ...]
    before: tuple[FrozenTrial, ...] = ()
    """For the pruner: the finished trials of earlier rounds, in their order."""


@dataclass(frozen=True)
class Evaluate:
    """Points ↦ what came of them."""

    objective: Objective | PopulationObjective
    population: int
    pruner: BasePruner | None
    name: str
    """Of the study."""

    def __call__(self, job: Together) -> list[Evaluated]:
        """In the order of the points."""
        runs = [self._run(asked, job.before) for asked in job.points]
        points = [Point(asked.params, run.report) for asked, run in zip(job.points, runs, strict=True)]
        began, pruned = time.perf_counter(), False
        try:
            if self.population > 1:
                values = [float(value) for value in cast(PopulationObjective, self.objective)(points)]
            else:
                values = [float(cast(Objective, self.objective)(points[0]))]
        except optuna.TrialPruned:
            if self.population > 1:
                raise
            values, pruned = [0.0], True
        if len(values) != len(points):
            raise ValueError(f"the objective returned {len(values)} values for a population of {len(points)} points")
        seconds = (time.perf_counter() - began) / len(points)
        return [
            Evaluated(value, seconds, run.reports, pruned, run.marks()) for value, run in zip(values, runs, strict=True)
        ]

    def _run(self, asked: Asked, before: Sequence[FrozenTrial]) -> "_Run":
        if self.pruner is None:
            return _Run(None)
        # Pruners may remember what they saw first: a copy has seen what this job brings along, in whichever process.
        pruner = copy.deepcopy(self.pruner)
        study = silent_study(study_name=self.name, pruner=pruner, sampler=RandomSampler(seed=0))
        study.add_trials(before)
        for _ in range(asked.slot - len(before)):
            study.add_trial(create_trial(state=TrialState.FAIL))
        return _Run(study)


class _Run:
    """One training: what it reports, and the pruner's view of it, in a study of its own."""

    def __init__(self, study: optuna.Study | None) -> None:
        self._study, self._trial = study, None if study is None else study.ask()
        self.reports: dict[int, float] = {}

    def report(self, value: float, epoch: int) -> None:
        """Optuna.TrialPruned if the pruner says so; of several values of one epoch the first counts, as in Optuna."""
        self.reports.setdefault(epoch, value)
        if self._trial is not None:
            self._trial.report(value, epoch)
            if self._trial.should_prune():
                raise optuna.TrialPruned

    def marks(self) -> dict[str, Any]:
        """What the pruner noted."""
        if self._study is None or self._trial is None:
            return {}
        return dict(self._study.get_trials(deepcopy=False)[self._trial.number].system_attrs)
