"""Run a job in a worker process: call the user's training function and read its scores."""

import copy
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from optuna import TrialPruned
from optuna.pruners import BasePruner
from torch import nn

from bilevel_hpo.comparison._fixed import FixedWeights
from bilevel_hpo.comparison._jobs import Job, Trained
from bilevel_hpo.comparison._learned import Learned
from bilevel_hpo.comparison._run import Run
from bilevel_hpo.comparison._scores import Metric, Scores, by_task
from bilevel_hpo.comparison._setting import Bundle
from bilevel_hpo.errors import DivergedError, NonFiniteError
from bilevel_hpo.learner import Weights
from bilevel_hpo.search import Reports

__all__ = ["Together", "Trainer", "Training"]

Training = Callable[[Run], Scores | Trained]
"""The user's training function: from a seed and a way of choosing λ to scores. A function with its own records
returns them as `Trained`."""

Together = Callable[[Sequence[Run]], Sequence[Scores | Trained]]
"""The same for several runs of one seed that differ only in their constant λ, in one training."""


@dataclass(frozen=True)
class Trainer:
    """The common part of all jobs, sent to a worker process once."""

    training: Training
    together: Together | None
    weights: nn.Module
    learned: Mapping[str, Learned]
    """The methods that learn λ, by name."""
    metric: Metric
    pruners: Mapping[str, BasePruner]
    """The pruners of the searches that have one, by name."""

    def __call__(self, bundle: Bundle) -> list[Trained]:
        """Returns the records of the trainings in order. One that diverges has a `failure` and no scores."""
        began, pruned = _cpu_seconds(), False
        reports = [
            Reports(self.pruners.get(job.method), job.number, job.before, f"{job.method}-seed{job.seed}")
            for job in bundle
        ]
        runs = [self._run(job, own) for job, own in zip(bundle, reports, strict=True)]
        torch.manual_seed(bundle[0].seed)
        try:
            if len(runs) == 1 or self.together is None:
                given: Sequence[Scores | Trained] = [self.training(run) for run in runs]
            else:
                given = self.together(runs)
            found = [self._record(run, scores) for run, scores in zip(runs, given, strict=True)]
        except (DivergedError, NonFiniteError) as error:
            if len(bundle) > 1:
                raise
            found = [Trained({}, seconds=runs[0].elapsed, failure=str(error))]
        except TrialPruned:
            if len(bundle) > 1:
                raise
            found, pruned = [Trained({}, seconds=runs[0].elapsed)], True
        spent = (_cpu_seconds() - began) / len(bundle)
        return [
            replace(trained, cpu_seconds=spent, pruned=pruned, reports=own.values, marks=own.marks())
            for trained, own in zip(found, reports, strict=True)
        ]

    def _run(self, job: Job, reports: Reports) -> Run:
        learned = self.learned.get(job.method) if job.lambda_ is None else None
        if job.lambda_ is not None:
            weights: nn.Module = FixedWeights(cast(Weights, self.weights), job.lambda_)
        else:
            weights = copy.deepcopy(self.weights) if learned is None else learned.start(self.weights)
        return Run(
            job.seed,
            job.method,
            weights,
            learned,
            self.metric,
            wants_test=job.test,
            options=job.options,
            reports=reports,
        )

    def _record(self, run: Run, scores: Scores | Trained) -> Trained:
        if isinstance(scores, Trained):
            return scores
        if not isinstance(scores, Scores):
            raise TypeError(
                f"the training function must return Scores(selection, test); it returned {type(scores).__name__}"
            )
        selection = by_task(scores.selection, self.metric, "selection")
        if not math.isfinite(self.metric.loss(selection)) or any(map(math.isinf, selection.values())):
            raise DivergedError(f"the scores on the selection data are not finite: {selection}")
        if not run.wants_test:
            return run.trained(selection, {}, {})
        test = by_task(scores.test() if callable(scores.test) else scores.test, self.metric, "test")
        if test.keys() != selection.keys():
            raise ValueError(
                f"test and selection must have scores of the same tasks; got {list(test)} and {list(selection)}"
            )
        return run.trained(selection, test, scores.extra())


def _cpu_seconds() -> float:
    """Returns the processor seconds of this process and of its finished children."""
    return sum(os.times()[:4])
