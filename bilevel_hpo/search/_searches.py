"""Grid, TPE, Gaussian process and random search with an objective, run on workers."""

from collections.abc import Mapping, Sequence
from typing import Unpack

import optuna
from optuna.pruners import BasePruner

from bilevel_hpo.jobs import On, Plan, drive, workers
from bilevel_hpo.search import asking
from bilevel_hpo.search._asking import Asking
from bilevel_hpo.search._evaluate import Evaluate, Together
from bilevel_hpo.search._point import Callback, Objective, PopulationObjective
from bilevel_hpo.search._storage import Storage
from bilevel_hpo.search._trial import Evaluated

__all__ = ["gp", "grid", "random", "tpe"]


def grid(
    objective: Objective | PopulationObjective,
    space: asking.Values,
    storage: Storage = None,
    *,
    name: str = "grid",
    population: int = 1,
    pruner: BasePruner | None = None,
    parallel: int = 1,
    about: Mapping[str, object] | None = None,
    callbacks: Sequence[Callback] = (),
    on: On = None,
) -> optuna.Study:
    """Evaluates every point of a grid once.

    Args:
        objective: the function from λ by name to the validation loss; with `population` > 1, from a list of points to
            their values.
        space: the values on each axis, in order; or `search.space(weights, values=...)`, whose `points` are used.
        storage: a journal file, the URL of a database, an Optuna storage, or None (in memory). Points that
            are complete there are not evaluated again.
        name: of the study.
        population: the largest number of points to pass to the objective at once.
        pruner: the pruner that ends unpromising runs by the losses given to `Point.report`; such a point has no
            value. Not for a population.
        parallel: with a pruner, the number of points evaluated at a time, each compared with those of the
            earlier rounds. Without a pruner all points are independent, and every worker gets one.
        about: JSON with whatever else determines the values (data, settings, seed); must be the same when the search
            is resumed.
        callbacks: functions called with (study, trial) after each point.
        on: where to evaluate points: in this process (None), in n processes, on a Dask scheduler ("tcp://…") or on
            any `concurrent.futures.Executor`; see `bilevel_hpo.jobs.workers`.

    Returns:
        The study; `search.best(study)` is the winner.
    """
    if population < 1 or (population > 1 and pruner is not None):
        raise ValueError(
            f"population must be positive, and 1 with a pruner; got population={population}, pruner={pruner}"
        )
    plan = asking.grid(space, storage, name, about=about, parallel=None if pruner is None else parallel)
    return _driven(plan, objective, population, pruner, callbacks, on)


def tpe(
    objective: Objective,
    space: asking.Bounds,
    storage: Storage = None,
    *,
    name: str = "tpe",
    pruner: BasePruner | None = None,
    callbacks: Sequence[Callback] = (),
    on: On = None,
    **proposing: Unpack[asking.Proposing],
) -> optuna.Study:
    """Searches by Optuna's tree-structured Parzen estimator.

    Each proposal depends only on the seed, on `parallel` and on the finished trials of earlier rounds: an interrupted
    search, resumed with the same storage, proposes what the uninterrupted one would have, on any number of
    workers. Learned λ stored by `record` have no influence; use `warm_start` to pass one to the
    search.

    Args:
        objective: the function from λ by name to the validation loss.
        space: (low, high) for each λ, or `search.space(weights, low, high)`.
        storage: as in `grid`.
        name: of the study.
        pruner: the pruner that ends unpromising runs by the losses given to `Point.report`.
        callbacks: functions called with (study, trial) after each trial.
        on: as in `grid`.
        proposing: more options, by name. *trials*: the total number of finished trials, including those in the storage.
            *epochs*: the total number of training epochs. No round begins once the trials have reported this many,
            so the last round may exceed it; at least one of the two must be given. *seed*: of the sampler, default 0.
            *parallel*: default 1, the number of proposals in a round, evaluated at the same time if there are
                workers. The fewer are made at
            once the better they are, but workers beyond `parallel` are idle. *about*: as in `grid`.

    Returns:
        The study; `search.best(study)` is the winner.
    """
    return _driven(asking.tpe(space, storage, name, **proposing), objective, 1, pruner, callbacks, on)


def gp(
    objective: Objective,
    space: asking.Bounds,
    storage: Storage = None,
    *,
    name: str = "gp",
    pruner: BasePruner | None = None,
    callbacks: Sequence[Callback] = (),
    on: On = None,
    **proposing: Unpack[asking.Proposing],
) -> optuna.Study:
    """Searches by Optuna's Gaussian process, for few λ and costly trainings; needs SciPy.

    Arguments and returned study: as in `tpe`.
    """
    return _driven(asking.gp(space, storage, name, **proposing), objective, 1, pruner, callbacks, on)


def random(
    objective: Objective,
    space: asking.Bounds,
    storage: Storage = None,
    *,
    name: str = "random",
    pruner: BasePruner | None = None,
    callbacks: Sequence[Callback] = (),
    on: On = None,
    **proposing: Unpack[asking.Proposing],
) -> optuna.Study:
    """Searches at random, uniformly (or log-uniformly): the baseline of any other search.

    Arguments and returned study: as in `tpe`.
    """
    return _driven(asking.random(space, storage, name, **proposing), objective, 1, pruner, callbacks, on)


def _driven(
    plan: Asking,
    objective: Objective | PopulationObjective,
    population: int,
    pruner: BasePruner | None,
    callbacks: Sequence[Callback],
    on: On,
) -> optuna.Study:
    evaluate = Evaluate(objective, population, pruner, plan.study.study_name)
    try:
        with workers(evaluate, on) as ready:
            drive([_Populations(plan, population, pruner is not None, callbacks)], ready)
    finally:
        plan.close()
    return plan.study


class _Populations(Plan[Together, list[Evaluated]]):
    """Groups the points of a plan, at most `population` in a job."""

    def __init__(self, plan: Asking, population: int, prunes: bool, callbacks: Sequence[Callback]) -> None:
        self._plan, self._population, self._prunes, self._callbacks = plan, population, prunes, callbacks

    def start(self) -> Sequence[Together]:
        """Returns the points that the plan asks for."""
        asked = tuple(self._plan.start())
        before = tuple(self._plan.before) if self._prunes else ()
        size = self._population
        return [Together(asked[at : at + size], before) for at in range(0, len(asked), size)]

    def finish(self, job: Together, result: list[Evaluated]) -> None:
        """Passes the results to the plan one after the other."""
        for asked, found in zip(job.points, result, strict=True):
            self._plan.finish(asked, found)
            for callback in self._callbacks:
                callback(self._plan.study, self._plan.trial(asked.slot))
