"""Search λ with one training per point; the winner on the selection data is trained again for the test data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from optuna.pruners import BasePruner
from optuna.trial import TrialState
from torch import nn

from bilevel_hpo.comparison._axes import Over
from bilevel_hpo.comparison._how import How
from bilevel_hpo.comparison._jobs import Job, Trained
from bilevel_hpo.comparison._setting import Answer, Bundle, Setting, Trial
from bilevel_hpo.search import Asked, Evaluated, best, epochs_used, seconds_of, trials

__all__ = ["SearchPlan", "Searched"]


@dataclass(frozen=True)
class Searched:
    """Chooses λ by a search, with a training for each point.

    The winner has the best mean score over the tasks on the selection data. It is trained once more with the same
    seed for its test scores; that training is not counted, since a user would have kept the model.
    """

    name: str
    title: str
    how: How
    axes: Over
    population: int = 1
    """The number of points trained in one call, if the comparison has a function for that (`together`)."""
    pruner: BasePruner | None = None
    """A pruner of Optuna, which ends unpromising trainings by their `Run.report`."""

    group: ClassVar[str] = "search"

    def trainings(self, setting: Setting) -> int:
        """Returns the number of points, plus one for the winner."""
        return self.points(setting.weights) + 1

    def points(self, weights: nn.Module) -> int:
        """Returns the number of trainings of the search."""
        return self.how.points(self.axes.space(weights))

    def plan(self, setting: Setting, seed: int) -> "SearchPlan":
        """Plans the trainings that the search asks for."""
        return SearchPlan(self, setting, seed)


class SearchPlan:
    """The trainings of a search with one seed; its study stores the scores of the points."""

    remembers_trials = True

    def __init__(self, method: Searched, setting: Setting, seed: int) -> None:
        self._method, self._metric, self._seed = method, setting.metric, seed
        self._space = method.axes.space(setting.weights, seed)
        name = f"{method.name}-seed{seed}"
        storage = setting.storage or setting.folder / f"{name}.journal"
        if setting.storage is not None and "://" in setting.storage:  # a database holds the studies of many runs
            name = f"{setting.folder.parent.resolve().name}-{name}"
        about = {**setting.about, "seed": seed}
        self._search = method.how.asking(self._space, storage, name, about, seed)
        self._waiting: dict[int, Asked] = {}
        self._is_last = False
        self.answer: Answer | None = None

    def start(self) -> Sequence[Bundle]:
        """Returns points of the search; when all have scores, the winner for its test scores."""
        asked = self._search.start()
        if asked:
            self._waiting |= {one.slot: one for one in asked}
            jobs = [self._job(one.slot, one.params, test=False) for one in asked]
            size = self._method.population
            return [tuple(jobs[at : at + size]) for at in range(0, len(jobs), size)]
        if self._waiting or self._is_last:
            return []
        self._is_last = True
        winner = best(self._search.study)
        return [(self._job(self._search.points, winner.params, test=True),)]

    def finish(self, job: Bundle, result: list[Trained]) -> None:
        """Passes the score to the search, or makes the answer."""
        if job[0].test:
            self.answer = self._answer(result[0])
            return
        for one, trained in zip(job, result, strict=True):
            loss = self._metric.loss(trained.selection)
            found = Evaluated(loss, trained.seconds, trained.reports, trained.pruned, trained.marks)
            self._search.finish(self._waiting.pop(one.number), found)

    def close(self) -> None:
        """Releases the study for another driver, also after an error."""
        self._search.close()

    def _job(self, number: int, params: Mapping[str, float], *, test: bool) -> Job:
        lambda_ = self._space.tensor(params).flatten().double().tolist()
        before = () if self._method.pruner is None or test else tuple(self._search.before)
        return Job(self._method.name, self._seed, number, tuple(lambda_), test, before=before)

    def _shown(self, params: Mapping[str, float]) -> Mapping[str, float]:
        """Returns λ on each axis as it entered the loss: shares that sum to the total of a `Budget`."""
        weights, index = self._space.weights, self._space.index
        if weights is None or index is None or not weights.constraint.couples:
            return params
        lambda_ = self._space.tensor(params).double()
        return {name: float(lambda_[index == number].mean()) for number, name in enumerate(self._space.axes)}

    def _answer(self, winner: Trained) -> Answer:
        sign = -1 if self._metric.higher_is_better else 1
        study = self._search.study
        done = trials(study)
        found = [
            Trial(self._shown(trial.params), _finite(sign * trial.values[0]), seconds_of(trial))
            for trial in done
            if trial.state is TrialState.COMPLETE
        ]
        seconds = sum(map(seconds_of, done))
        cpu_seconds = seconds * winner.cpu_seconds / winner.seconds if winner.seconds else seconds
        epochs = epochs_used(study) or winner.epochs * len(done)
        return Answer(winner, len(done), seconds, cpu_seconds, epochs, found)


def _finite(score: float) -> float:
    return score if math.isfinite(score) else math.nan
