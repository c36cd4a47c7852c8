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
    """Searches every combination of `values`; under a `Budget` every different set of shares, once."""
    axes = Axes(values=tuple(values), symmetric=symmetric, groups=dict(groups or {}))
    return Searched(name, title or f"grid search, {len(values)} values for each λ", Grid(), axes, population)


def best_constant(
    values: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
    name: str = "uniform",
    title: str = "",
    *,
    population: int = 1,
) -> Searched:
    """Searches for the best of a few values common to all λ. Not for a `Budget`, under which all give the same λ."""
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
    """Searches by Optuna's tree-structured Parzen estimator. Its first ten trials are random: with ten it is random
    search.

    Args:
        trials: the number of trainings.
        low: the smallest λ; under a `Budget` the numbers are turned into shares.
        high: the largest λ.
        name: the name of the method.
        title: the name shown in reports.
        log: whether to search on a logarithmic scale; `low` must be positive.
        symmetric: whether transfer ratios have λ_{s→t} = λ_{t→s}.
        shared: whether all λ share one value.
        groups: for each group its name and the names that share one value.
        parallel: the number of proposals made at once; more keep more processes busy, but use fewer results each.
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
    """Searches by Optuna's Gaussian process, for few λ and costly trainings. The arguments are those of `tpe`."""
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
    """Draws λ uniformly, the baseline of any other search. The arguments are those of `tpe`."""
    axes = Axes(low, high, log=log, symmetric=symmetric, shared=shared, groups=dict(groups or {}))
    return Searched(name, title or f"random search, {trials} trials", Proposals("random", trials, parallel), axes)
