"""λ searched: one training a point, the winner chosen on the selection data and trained once more for the test data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from optuna.pruners import BasePruner
from optuna.trial import TrialState
from torch import nn

from bilevel_hpo.comparison._jobs import Job, Trained
from bilevel_hpo.comparison._setting import Answer, Bundle, Setting, Trial
from bilevel_hpo.search import Asked, Asking, Evaluated, Space, asking, best, epochs_used, seconds_of, space, trials
from bilevel_hpo.weights import LossWeights, TransferRatios

__all__ = ["Axes", "Grid", "Proposals", "SearchPlan", "Searched", "best_constant", "gp", "grid", "random", "tpe"]


MOST_POINTS = 10_000
"""Of a grid."""


@dataclass(frozen=True)
class Axes:
    """Which λ are searched, and where; see `bilevel_hpo.search.space`."""

    low: float = 0.0
    high: float = 1.0
    values: tuple[float, ...] = ()
    """Of a grid, instead of low and high."""
    log: bool = False
    symmetric: bool = False
    """Of transfer ratios: λ_{s→t} = λ_{t→s}."""
    shared: bool = False
    """One value for all λ."""
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name -> names that share one value."""

    def space(self, weights: nn.Module, seed: int = 0) -> Space:
        """Of `weights`."""
        if not isinstance(weights, LossWeights | TransferRatios):
            raise TypeError(
                f"searches know the λ of LossWeights and TransferRatios; weights are a {type(weights).__name__}. Leave "
                "the searches out, or give λ names: LossWeights([...])"
            )
        names = weights.names if isinstance(weights, LossWeights) else (*weights.targets, *weights.sources)
        groups = {"all": tuple(dict.fromkeys(names))} if self.shared else self.groups
        return space(
            weights, self.low, self.high, values=self.values, log=self.log, symmetric=self.symmetric, groups=groups
        )


class Over(Protocol):
    """Which λ a search goes over: `Axes`, or a frozen record of your own."""

    def space(self, weights: nn.Module, seed: int = 0) -> Space:
        """Of `weights`; it may differ by the seed."""


class How(Protocol):
    """Which points a search asks for: a frozen record."""

    def asking(self, space: Space, storage: str | Path, name: str, about: Mapping[str, Any], seed: int) -> Asking:
        """The search, new or as it stands in `storage`."""

    def points(self, space: Space) -> int:
        """Trainings of one search."""


@dataclass(frozen=True)
class Grid:
    """Every point once."""

    def asking(self, space: Space, storage: str | Path, name: str, about: Mapping[str, Any], seed: int) -> Asking:
        """In order."""
        return asking.grid(space, storage, name=name, about=about)

    def points(self, space: Space) -> int:
        """Different λ."""
        combinations = math.prod(len(axis.values) for axis in space.axes.values())
        if combinations > MOST_POINTS:
            raise ValueError(
                f"a grid over {len(space.axes)} λ has {combinations:.3g} points, more than {MOST_POINTS}: name fewer "
                "values, tie λ by groups, or use best_constant, tpe or random"
            )
        return len(space.points())


@dataclass(frozen=True)
class Proposals:
    """What a sampler of Optuna proposes, from the results so far."""

    sampler: Literal["tpe", "gp", "random"]
    trials: int | None
    parallel: int
    epochs: int | None = None
    """Begin no training after so many epochs of all together."""
    """Proposals that are made at once; further ones when all of these have their scores."""

    def asking(self, space: Space, storage: str | Path, name: str, about: Mapping[str, Any], seed: int) -> Asking:
        """One after the other, or `parallel` together."""
        ask = getattr(asking, self.sampler)
        found: Asking = ask(
            space,
            storage,
            name=name,
            about=about,
            seed=seed,
            trials=self.trials,
            epochs=self.epochs,
            parallel=self.parallel,
        )
        return found

    def points(self, space: Space) -> int:
        """As many as were asked for; 0 where the epochs decide."""
        return self.trials or 0


@dataclass(frozen=True)
class Searched:
    """λ chosen by a search, with a training for each point.

    The winner has the best score on the selection data, the mean over the tasks. It is trained once more with the same
    seed for its test scores; that training is not counted, since who searches would have kept the model.
    """

    name: str
    title: str
    how: How
    axes: Over
    population: int = 1
    """Points that are trained in one, where the comparison has a function for that (`together`)."""
    pruner: BasePruner | None = None
    """Of Optuna: ends trainings that `Run.report` shows to be hopeless."""

    group: ClassVar[str] = "search"

    def trainings(self, setting: Setting) -> int:
        """The points, and the winner again."""
        return self.points(setting.weights) + 1

    def points(self, weights: nn.Module) -> int:
        """Trainings of the search."""
        return self.how.points(self.axes.space(weights))

    def plan(self, setting: Setting, seed: int) -> "SearchPlan":
        """Asks the search what to train."""
        return SearchPlan(self, setting, seed)


class SearchPlan:
    """The trainings of a search with one seed; its study remembers the scores of the points."""

    remembers_trials = True

    def __init__(self, method: Searched, setting: Setting, seed: int) -> None:
        self._method, self._metric, self._seed = method, setting.metric, seed
        self._space = method.axes.space(setting.weights, seed)
        name = f"{method.name}-seed{seed}"
        storage = setting.storage or setting.folder / f"{name}.journal"
        about = {**setting.about, "seed": seed}
        self._search = method.how.asking(self._space, storage, name, about, seed)
        self._waiting: dict[int, Asked] = {}
        self._is_last = False
        self.answer: Answer | None = None

    def start(self) -> Sequence[Bundle]:
        """Points of the search; when all have their scores, the winner for its test scores."""
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
        """Tell the search, or make the answer."""
        if job[0].test:
            self.answer = self._answer(result[0])
            return
        for one, trained in zip(job, result, strict=True):
            loss = self._metric.loss(trained.selection)
            found = Evaluated(loss, trained.seconds, trained.reports, trained.pruned, trained.marks)
            self._search.finish(self._waiting.pop(one.number), found)

    def _job(self, number: int, params: Mapping[str, float], *, test: bool) -> Job:
        lambda_ = self._space.tensor(params).flatten().double().tolist()
        before = () if self._method.pruner is None or test else tuple(self._search.before)
        return Job(self._method.name, self._seed, number, tuple(lambda_), test, before=before)

    def _answer(self, winner: Trained) -> Answer:
        sign = -1 if self._metric.higher_is_better else 1
        study = self._search.study
        done = trials(study)
        found = [
            Trial(trial.params, _finite(sign * trial.values[0]), seconds_of(trial))
            for trial in done
            if trial.state is TrialState.COMPLETE
        ]
        seconds = sum(map(seconds_of, done))
        cpu_seconds = seconds * winner.cpu_seconds / winner.seconds if winner.seconds else seconds
        epochs = epochs_used(study) or winner.epochs * len(done)
        return Answer(winner, len(done), seconds, cpu_seconds, epochs, found)


def _finite(score: float) -> float:
    return score if math.isfinite(score) else math.nan


def grid(
    values: Sequence[float] = (0.0, 0.5, 1.0),
    name: str = "grid",
    title: str = "",
    *,
    symmetric: bool = False,
    groups: Mapping[str, Sequence[str]] | None = None,
    population: int = 1,
) -> Searched:
    """Every combination of `values`; under a `Budget` every different share that they stand for."""
    axes = Axes(values=tuple(values), symmetric=symmetric, groups=dict(groups or {}))
    return Searched(name, title or f"grid search, {len(values)} values for each λ", Grid(), axes, population)


def best_constant(
    values: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
    name: str = "uniform",
    title: str = "",
    *,
    population: int = 1,
) -> Searched:
    """The best of a few constant λ, the same for all. Not for a `Budget`, where these are all one."""
    axes = Axes(values=tuple(values), shared=True)
    return Searched(name, title or f"best of {len(values)} λ, the same for all", Grid(), axes, population)


def tpe(
    trials: int = 27,
    low: float = 0.0,
    high: float = 1.0,
    name: str = "tpe",
    title: str = "",
    *,
    log: bool = False,
    symmetric: bool = False,
    shared: bool = False,
    groups: Mapping[str, Sequence[str]] | None = None,
    parallel: int = 1,
) -> Searched:
    """Optuna's tree-structured Parzen estimator.

    Args:
        trials: trainings.
        low: the smallest λ; under a `Budget` numbers of which shares are made.
        high: the largest.
        name: of the method.
        title: for people.
        log: search on a logarithmic scale; `low` must be positive.
        symmetric: of transfer ratios, λ_{s→t} = λ_{t→s}.
        shared: one value for all λ.
        groups: name -> names that share one value.
        parallel: proposals that are made at once; more fill more processes, and make the search a little blinder.
    """
    axes = Axes(low, high, log=log, symmetric=symmetric, shared=shared, groups=dict(groups or {}))
    return Searched(name, title or f"TPE search, {trials} trials", Proposals("tpe", trials, parallel), axes)


def gp(
    trials: int = 27,
    low: float = 0.0,
    high: float = 1.0,
    name: str = "gp",
    title: str = "",
    *,
    log: bool = False,
    symmetric: bool = False,
    shared: bool = False,
    groups: Mapping[str, Sequence[str]] | None = None,
    parallel: int = 1,
) -> Searched:
    """Optuna's Gaussian process, for few λ and costly trainings. Arguments: as of `tpe`."""
    axes = Axes(low, high, log=log, symmetric=symmetric, shared=shared, groups=dict(groups or {}))
    return Searched(name, title or f"Gaussian process, {trials} trials", Proposals("gp", trials, parallel), axes)


def random(
    trials: int = 27,
    low: float = 0.0,
    high: float = 1.0,
    name: str = "random",
    title: str = "",
    *,
    log: bool = False,
    symmetric: bool = False,
    shared: bool = False,
    groups: Mapping[str, Sequence[str]] | None = None,
    parallel: int = 1,
) -> Searched:
    """Uniform draws, the floor that any other search must clear. Arguments: as of `tpe`."""
    axes = Axes(low, high, log=log, symmetric=symmetric, shared=shared, groups=dict(groups or {}))
    return Searched(name, title or f"random search, {trials} trials", Proposals("random", trials, parallel), axes)
