"""Searches as plans, to run several on one pool: `bilevel_hpo.jobs.drive([asking.tpe(…), …], …)`.

Each plan asks for points, `Asked`, and takes an `Evaluated` for each. The functions of `bilevel_hpo.search` run one of
these with an objective and explain the arguments.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict, Unpack

from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from bilevel_hpo.search._asking import Asking
from bilevel_hpo.search._rules import GridPoints, Proposals
from bilevel_hpo.search._space import Space, as_space
from bilevel_hpo.search._storage import Storage
from bilevel_hpo.search._study import KeptStudy

__all__ = ["Bounds", "Proposing", "Values", "gp", "grid", "random", "tpe"]

Values = Space | Mapping[str, Sequence[float]]
Bounds = Space | Mapping[str, tuple[float, float]]


class Proposing(TypedDict, total=False):
    """The options of searches with proposals, explained at `bilevel_hpo.search.tpe`."""

    trials: int | None
    epochs: int | None
    seed: int
    parallel: int
    about: Mapping[str, object] | None


def grid(
    space: Values,
    storage: Storage = None,
    name: str = "grid",
    *,
    about: Mapping[str, object] | None = None,
    parallel: int | None = None,
) -> Asking:
    """Plans every point of `Space.points`, all at once or `parallel` at a time."""
    made = as_space(space, grid=True)
    points = made.points()
    question: dict[str, object] = {"grid": {key: list(axis.values) for key, axis in made.axes.items()}}
    if len(points) < math.prod(len(axis.values) for axis in made.axes.values()):
        question["points"] = len(points)
    return _asking(made, storage, name, question, about, GridPoints(points), parallel or len(points), len(points), None)


def tpe(space: Bounds, storage: Storage = None, name: str = "tpe", **how: Unpack[Proposing]) -> Asking:
    """Plans proposals of Optuna's tree-structured Parzen estimator."""
    return _proposals("tpe", lambda seed: TPESampler(seed=seed), space, storage, name, **how)


def gp(space: Bounds, storage: Storage = None, name: str = "gp", **how: Unpack[Proposing]) -> Asking:
    """Plans proposals of Optuna's Gaussian process."""
    return _proposals("gp", lambda seed: GPSampler(seed=seed), space, storage, name, **how)


def random(space: Bounds, storage: Storage = None, name: str = "random", **how: Unpack[Proposing]) -> Asking:
    """Plans random points."""
    return _proposals("random", lambda seed: RandomSampler(seed=seed), space, storage, name, **how)


def _proposals(
    kind: str,
    sampler: Callable[[int], BaseSampler],
    space: Bounds,
    storage: Storage,
    name: str,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    parallel: int = 1,
    about: Mapping[str, object] | None = None,
) -> Asking:
    if trials is None and epochs is None:
        raise ValueError("trials or epochs, or both, must be given: they say how long to search")
    made = as_space(space, grid=False)
    question: dict[str, object] = {kind: {key: [axis.low, axis.high] for key, axis in made.axes.items()}, "seed": seed}
    question |= {"log": logs} if (logs := [key for key, axis in made.axes.items() if axis.log]) else {}
    question |= {"parallel": parallel} if parallel != 1 else {}
    return _asking(made, storage, name, question, about, Proposals(sampler, seed, made), parallel, trials, epochs)


def _asking(
    space: Space,
    storage: Storage,
    name: str,
    question: Mapping[str, object],
    about: Mapping[str, object] | None,
    rule: GridPoints | Proposals,
    parallel: int,
    trials: int | None,
    epochs: int | None,
) -> Asking:
    if parallel < 1:
        raise ValueError(f"parallel must be positive; got {parallel}")
    question = {**question, **({"about": about} if about else {})}
    kept = KeptStudy(storage, name, question, space.distributions, starts=isinstance(rule, Proposals))
    return Asking(kept, rule, parallel, trials, epochs)
