"""The methods of `gate compare`, and the searches of `gate grid` and `gate tpe`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import nn

from bilevel_hpo import TransferRatios, comparison
from bilevel_hpo.comparison import Searched, Single
from bilevel_hpo.search import Axis, Space
from gate_model.training.methods import LEARNED, SHARED, Method, constant, pairs

__all__ = [
    "GRID_VALUES",
    "MAX_POINTS",
    "METHODS",
    "AllPairs",
    "check_size",
    "grid_of",
    "shared_values",
    "single",
    "too_many",
    "tpe_of",
]

MAX_POINTS = 1000
GRID_VALUES = (0.2, 0.6, 1.0)
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


@dataclass(frozen=True)
class AllPairs:
    """One λ for all pairs of tasks, as the axis of a search.

    Args:
        values: of a grid; TPE goes from the smallest to the largest.
    """

    values: tuple[float, ...]

    def space(self, weights: nn.Module, seed: int = 0) -> Space:
        """The direct paths stay."""
        ratios = cast(TransferRatios, weights)
        axis = Axis(min(self.values), max(self.values), values=self.values)
        return Space({SHARED: axis}, ratios, torch.where(ratios.direct, -1, 0))


def grid_of(values: Sequence[float], *, shared: bool = False, population: int = 1) -> Searched:
    """Every point over a symmetric λ for each pair of tasks, or over one λ for all."""
    found = comparison.grid(values, "grid", f"grid search over {_OVER[shared]}", symmetric=True, population=population)
    return replace(found, axes=AllPairs(tuple(values))) if shared else found


def tpe_of(values: Sequence[float], trials: int, *, shared: bool = False) -> Searched:
    """TPE between the smallest and the largest value, over the same λ."""
    found = comparison.tpe(trials, min(values), max(values), "tpe", f"TPE search over {_OVER[shared]}", symmetric=True)
    return replace(found, axes=AllPairs(tuple(values))) if shared else found


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
