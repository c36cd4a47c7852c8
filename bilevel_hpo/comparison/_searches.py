"""The searches by name: a grid, the best constant λ, and Optuna's samplers."""

from collections.abc import Mapping, Sequence

from bilevel_hpo.comparison._axes import Axes
from bilevel_hpo.comparison._how import Grid, Proposals
from bilevel_hpo.comparison._searched import Searched

__all__ = ["best_constant", "gp", "grid", "random", "tpe"]


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
    """Optuna's tree-structured Parzen estimator. Its first ten trials are random draws: with ten it is random search.

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
