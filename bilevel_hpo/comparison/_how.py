"""Which points a search asks for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from bilevel_hpo.search import Asking, Space, asking

__all__ = ["Grid", "How", "Proposals"]

MOST_POINTS = 10_000
"""Of a grid."""


class How(Protocol):
    """Which points a search asks for: a frozen record."""

    def asking(self, space: Space, storage: str | Path, name: str, about: Mapping[str, Any], seed: int) -> Asking:
        """The search, new or as it stands in `storage`."""

    def points(self, space: Space) -> int:
        """Trainings of one search."""


@dataclass(frozen=True)
class Grid:
    """Every point once."""

    def asking(self, space: Space, storage: str | Path, name: str, about: Mapping[str, Any], seed: int) -> Asking:
        """In order."""
        return asking.grid(space, storage, name=name, about=about)

    def points(self, space: Space) -> int:
        """Different λ."""
        combinations = math.prod(len(axis.values) for axis in space.axes.values())
        if combinations > MOST_POINTS:
            raise ValueError(
                f"a grid over {len(space.axes)} λ has {combinations:.3g} points, more than {MOST_POINTS}: name fewer "
                "values, tie λ by groups, or use best_constant, tpe or random"
            )
        return len(space.points())


@dataclass(frozen=True)
class Proposals:
    """What a sampler of Optuna proposes, from the results so far."""

    sampler: Literal["tpe", "gp", "random"]
    trials: int | None
    parallel: int
    epochs: int | None = None
    """Begin no training after so many epochs of all together."""
    """Proposals that are made at once; further ones when all of these have their scores."""

    def asking(self, space: Space, storage: str | Path, name: str, about: Mapping[str, Any], seed: int) -> Asking:
        """One after the other, or `parallel` together."""
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
        """As many as were asked for; 0 where the epochs decide."""
        return self.trials or 0
