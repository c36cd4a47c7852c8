"""The points that a search evaluates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from bilevel_hpo.search import Asking, Space, asking

__all__ = ["Grid", "How", "Proposals"]

MOST_POINTS = 10_000
"""The largest number of points of a grid."""


class How(Protocol):
    """The rule for the points of a search: a frozen record."""

    def asking(self, space: Space, storage: str | Path, name: str, about: Mapping[str, Any], seed: int) -> Asking:
        """Returns the search, new or continued from `storage`."""

    def points(self, space: Space) -> int:
        """Returns the number of trainings of one search."""


@dataclass(frozen=True)
class Grid:
    """Evaluates every point of the grid once."""

    def asking(self, space: Space, storage: str | Path, name: str, about: Mapping[str, Any], seed: int) -> Asking:
        """Returns a search over the points in order."""
        return asking.grid(space, storage, name=name, about=about)

    def points(self, space: Space) -> int:
        """Returns the number of different λ."""
        combinations = math.prod(len(axis.values) for axis in space.axes.values())
        if combinations > MOST_POINTS:
            raise ValueError(
                f"a grid over {len(space.axes)} λ has {combinations:.3g} points, more than {MOST_POINTS}: name fewer "
                "values, tie λ by groups, or use best_constant, tpe or random"
            )
        return len(space.points())


@dataclass(frozen=True)
class Proposals:
    """Evaluates the proposals of an Optuna sampler, made from the results so far."""

    sampler: Literal["tpe", "gp", "random"]
    trials: int | None
    parallel: int
    epochs: int | None = None
    """No training begins after this total number of epochs."""
    """Proposals that are made at once; further ones when all of these have their scores."""

    def asking(self, space: Space, storage: str | Path, name: str, about: Mapping[str, Any], seed: int) -> Asking:
        """Returns a search that proposes one point at a time, or `parallel` together."""
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
        """Returns the requested number; 0 if the epochs limit the search."""
        return self.trials or 0
