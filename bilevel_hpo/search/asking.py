"""Searches as plans, for whoever drives several of them on one pool: `bilevel_hpo.jobs.drive([asking.tpe(…), …], …)`.

Each asks for points, `Asked`, and takes an `Evaluated` for each. The functions of `bilevel_hpo.search` drive one of
these with an objective.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from bilevel_hpo.search._asking import Asking
from bilevel_hpo.search._rules import GridPoints, Proposals
from bilevel_hpo.search._space import Space, as_space
from bilevel_hpo.search._storage import Storage
from bilevel_hpo.search._study import KeptStudy

__all__ = ["Bounds", "Values", "gp", "grid", "random", "tpe"]

Values = Space | Mapping[str, Sequence[float]]
Bounds = Space | Mapping[str, tuple[float, float]]


def grid(
    space: Values,
    storage: Storage = None,
    *,
    name: str = "grid",
    about: Mapping[str, object] | None = None,
    parallel: int | None = None,
) -> Asking:
    """Every point of `Space.points`, all at once or `parallel` at a time. Arguments as of `bilevel_hpo.search.grid`."""
    made = as_space(space, grid=True)
    points = made.points()
    question: dict[str, object] = {"grid": {key: list(axis.values) for key, axis in made.axes.items()}}
    if len(points) < math.prod(len(axis.values) for axis in made.axes.values()):
        question["points"] = len(points)
    question |= {"about": about} if about else {}
    distributions = {key: axis.distribution for key, axis in made.axes.items()}
    size = len(points) if parallel is None else _positive(parallel)
    kept = KeptStudy(storage, name, question, distributions, queue=False)
    return Asking(kept, GridPoints(points), size, len(points))


def tpe(
    space: Bounds,
    storage: Storage = None,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    name: str = "tpe",
    about: Mapping[str, object] | None = None,
    parallel: int = 1,
) -> Asking:
    """Proposals of Optuna's tree-structured Parzen estimator. Arguments as of `bilevel_hpo.search.tpe`."""
    return _proposals("tpe", lambda s: TPESampler(seed=s), space, storage, trials, epochs, seed, name, about, parallel)


def gp(
    space: Bounds,
    storage: Storage = None,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    name: str = "gp",
    about: Mapping[str, object] | None = None,
    parallel: int = 1,
) -> Asking:
    """Proposals of Optuna's Gaussian process. Arguments as of `bilevel_hpo.search.tpe`."""
    return _proposals("gp", lambda s: GPSampler(seed=s), space, storage, trials, epochs, seed, name, about, parallel)


def random(
    space: Bounds,
    storage: Storage = None,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    name: str = "random",
    about: Mapping[str, object] | None = None,
    parallel: int = 1,
) -> Asking:
    """Points at random. Arguments as of `bilevel_hpo.search.tpe`."""
    made = lambda s: RandomSampler(seed=s)  # noqa: E731
    return _proposals("random", made, space, storage, trials, epochs, seed, name, about, parallel)


def _proposals(
    kind: str,
    sampler: Callable[[int], BaseSampler],
    space: Bounds,
    storage: Storage,
    trials: int | None,
    epochs: int | None,
    seed: int,
    name: str,
    about: Mapping[str, object] | None,
    parallel: int,
) -> Asking:
    if trials is None and epochs is None:
        raise ValueError("trials or epochs is wanted, or both: how long to search")
    axes = as_space(space, grid=False).axes
    question: dict[str, object] = {kind: {key: [axis.low, axis.high] for key, axis in axes.items()}, "seed": seed}
    question |= {"about": about} if about else {}
    question |= {"log": logs} if (logs := [key for key, axis in axes.items() if axis.log]) else {}
    question |= {"parallel": parallel} if _positive(parallel) > 1 else {}
    distributions = {key: axis.distribution for key, axis in axes.items()}
    kept = KeptStudy(storage, name, question, distributions, queue=True)
    return Asking(kept, Proposals(sampler, seed, distributions), parallel, trials, epochs)


def _positive(parallel: int) -> int:
    if parallel < 1:
        raise ValueError(f"parallel={parallel}; a positive number is wanted")
    return parallel
