"""The methods of `gate compare`, and the searches of `gate grid` and `gate tpe`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bilevel_hpo import comparison
from bilevel_hpo.comparison import Axes, Searched, Single
from gate_model.training.methods import LEARNED, Method, constant, pairs

__all__ = [
    "MAX_POINTS",
    "METHODS",
    "check_size",
    "grid_of",
    "shared_values",
    "single",
    "too_many",
    "tpe_of",
]

MAX_POINTS = 1000
_OVER = {False: "symmetric λ", True: "one λ for all pairs"}

METHODS: tuple[Method, ...] = (
    LEARNED["budget"],
    LEARNED["direct"],
    constant("lambda=1", "constant λ = 1 (GATE)", 1.0),
    constant("lambda=0", "constant λ = 0 (no transfer, the control)", 0.0),
)
"""The methods of `gate compare` besides the searches."""


def single(method: Method) -> Single:
    """Return a method of GATE in the form that a comparison needs. The training function finds it by its name."""
    return Single(method.name, method.title, "learned" if method.learning is not None else "constant")


def grid_of(values: Sequence[float], *, shared: bool = False, population: int = 1) -> Searched:
    """Return a grid search.

    Args:
        values: the values of each λ.
        shared: search one λ for all pairs; False: a symmetric λ for each pair of tasks.
        population: number of points that are trained together.
    """
    axes = Axes(values=tuple(values), symmetric=True, shared=shared)
    found = comparison.grid(values, "grid", f"grid search over {_OVER[shared]}", population=population)
    return replace(found, axes=axes)


def tpe_of(values: Sequence[float], trials: int, *, shared: bool = False) -> Searched:
    """Return a TPE search.

    Args:
        values: the search is between the smallest and the largest of them.
        trials: number of trainings.
        shared: search one λ for all pairs; False: a symmetric λ for each pair of tasks.
    """
    low, high = min(values), max(values)
    return comparison.tpe(trials, low, high, "tpe", f"TPE search over {_OVER[shared]}", symmetric=True, shared=shared)


def too_many(tasks: Sequence[str], values: Sequence[float]) -> bool:
    """Return whether a grid of these values over a λ for each pair has more than `MAX_POINTS` points."""
    return bool(len(values) ** len(pairs(tasks)) > MAX_POINTS)


def check_size(tasks: Sequence[str], values: Sequence[float]) -> int:
    """Return the number of points of the grid.

    Raises:
        ValueError: there are more than `MAX_POINTS`.
    """
    if too_many(tasks, values):
        raise ValueError(
            f"a grid of {len(values)} values over the {len(pairs(tasks))} pairs of {len(tasks)} tasks has "
            f"{len(values)}^{len(pairs(tasks))} points, more than {MAX_POINTS}: name fewer tasks or values, or learn λ "
            "in one training with `gate learn`"
        )
    return int(len(values) ** len(pairs(tasks)))


def shared_values(values: Sequence[float]) -> tuple[float, ...]:
    """Return the values for one λ of all pairs: `values` if there are eight or more, else nine over their range."""
    if len(values) >= 8:
        return tuple(values)
    return tuple(np.linspace(min(values), max(values), 9).round(12).tolist())
