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
"""Beside the searches."""


def single(method: Method) -> Single:
    """A method of GATE as one of a comparison; the training function knows it by its name."""
    return Single(method.name, method.title, "learned" if method.learning is not None else "constant")


def grid_of(values: Sequence[float], *, shared: bool = False, population: int = 1) -> Searched:
    """Every point over a symmetric λ for each pair of tasks, or over one λ for all."""
    axes = Axes(values=tuple(values), symmetric=True, shared=shared)
    found = comparison.grid(values, "grid", f"grid search over {_OVER[shared]}", population=population)
    return replace(found, axes=axes)


def tpe_of(values: Sequence[float], trials: int, *, shared: bool = False) -> Searched:
    """TPE between the smallest and the largest value, over the same λ."""
    low, high = min(values), max(values)
    return comparison.tpe(trials, low, high, "tpe", f"TPE search over {_OVER[shared]}", symmetric=True, shared=shared)


def too_many(tasks: Sequence[str], values: Sequence[float]) -> bool:
    """Would a grid of `values` over a λ for each pair have more than `MAX_POINTS` points?"""
    return bool(len(values) ** len(pairs(tasks)) > MAX_POINTS)


def check_size(tasks: Sequence[str], values: Sequence[float]) -> int:
    """Number of points of the grid; ValueError if nobody would wait for it."""
    if too_many(tasks, values):
        raise ValueError(
            f"a grid of {len(values)} values over the {len(pairs(tasks))} pairs of {len(tasks)} tasks has "
            f"{len(values)}^{len(pairs(tasks))} points, more than {MAX_POINTS}: name fewer tasks or values, or learn λ "
            "in one training with `gate learn`"
        )
    return int(len(values) ** len(pairs(tasks)))


def shared_values(values: Sequence[float]) -> tuple[float, ...]:
    """The grid of one λ for all pairs: `values` if they are eight or more, else nine over their range."""
    if len(values) >= 8:
        return tuple(values)
    return tuple(np.linspace(min(values), max(values), 9).round(12).tolist())
