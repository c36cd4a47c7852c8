"""Evaluate points in a worker process: call the objective, keep its reports, let a pruner end it."""

import time
from dataclasses import dataclass
from typing import cast

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from bilevel_hpo.search._point import Objective, Point, PopulationObjective
from bilevel_hpo.search._reports import Reports
from bilevel_hpo.search._trial import Asked, Evaluated

__all__ = ["Evaluate", "Together"]


@dataclass(frozen=True)
class Together:
    """The points that the objective receives in one call; a single one without a population."""

    points: tuple[Asked, ...]
    before: tuple[FrozenTrial, ...] = ()
    """For the pruner: the finished trials of earlier rounds, in their order."""


@dataclass(frozen=True)
class Evaluate:
    """The function from points to their results."""

    objective: Objective | PopulationObjective
    population: int
    pruner: BasePruner | None
    name: str
    """The name of the study."""

    def __call__(self, job: Together) -> list[Evaluated]:
        """Returns the results in the order of the points."""
        runs = [Reports(self.pruner, asked.slot, job.before, self.name) for asked in job.points]
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
            Evaluated(value, seconds, run.values, pruned, run.marks()) for value, run in zip(values, runs, strict=True)
        ]
