"""Every point of a grid once, by any number of workers."""

from collections.abc import Mapping, Sequence
from itertools import product

import optuna
from optuna.pruners import BasePruner

from bilevel_hpo.search._point import Callback, Objective, PopulationObjective
from bilevel_hpo.search._share import Search, open_study
from bilevel_hpo.search._space import Space, as_space
from bilevel_hpo.search._storage import Storage

__all__ = ["GRACE", "grid"]

GRACE = 120.0
"""Seconds without a sign of life after which a worker on another host is given up."""


def grid(
    objective: Objective | PopulationObjective,
    space: Space | Mapping[str, Sequence[float]],
    storage: Storage = None,
    *,
    name: str = "grid",
    population: int = 1,
    pruner: BasePruner | None = None,
    about: Mapping[str, object] | None = None,
    grace: float = GRACE,
    callbacks: Sequence[Callback] = (),
) -> optuna.Study:
    """Evaluate every point of a grid once.

    Any number of processes may call this with the same storage, space and name: they share the points, and all return
    when every point has a value. The points of one that is killed are evaluated by the others. Points are claimed one
    by one; Optuna's `GridSampler` takes time quadratic in their number.

    Args:
        objective: λ by name ↦ validation loss; with `population` > 1, a list of points ↦ the list of their values.
        space: the values on each axis, in order; or `search.space(weights, values=...)`.
        storage: a file for the journal, the URL of a database, an Optuna storage, or nothing (in memory). Points that
            are complete there are not evaluated again.
        name: of the study.
        population: most points to hand to the objective at once.
        pruner: ends hopeless runs by what the objective tells `Point.report`; such a point has no value. Not for a
            population.
        about: what else decides the values (data, settings, seed), JSON; all workers must come with the same.
        grace: seconds without a sign of life after which a worker on another host is given up.
        callbacks: called with (study, trial) after each point evaluated here.

    Returns:
        The study; `search.best(study)` is the winner.
    """
    if population < 1 or (population > 1 and pruner is not None):
        raise ValueError(f"population={population}, pruner={pruner}: a positive population is wanted, 1 with a pruner")
    axes = as_space(space, grid=True).axes
    points = list(product(*(axis.values for axis in axes.values())))
    question = {"grid": {key: list(axis.values) for key, axis in axes.items()}} | ({"about": about} if about else {})
    study = open_study(storage, name, question, pruner)
    search = Search(
        propose=lambda slot, trials: dict(zip(axes, points[slot], strict=True)),
        distributions={key: axis.distribution for key, axis in axes.items()},
        wanted=lambda trials: len(points),
        queue=False,
    )
    search.run(study, objective, population=population, grace=grace, callbacks=callbacks)
    return study
