"""The λ that a search varies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import nn

from bilevel_hpo.search import Space, space
from bilevel_hpo.weights import LossWeights, TransferRatios

__all__ = ["Axes", "Over"]


class Over(Protocol):
    """The λ that a search varies: `Axes`, or a frozen record of your own."""

    def space(self, weights: nn.Module, seed: int = 0) -> Space:
        """Returns the search space of `weights`; it may depend on the seed."""


@dataclass(frozen=True)
class Axes:
    """The λ that are searched and their ranges; see `bilevel_hpo.search.space`."""

    low: float = 0.0
    high: float = 1.0
    values: tuple[float, ...] = ()
    """The values of a grid, instead of low and high."""
    log: bool = False
    symmetric: bool = False
    """Whether transfer ratios have λ_{s→t} = λ_{t→s}."""
    shared: bool = False
    """Whether all λ share one value."""
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For each group its name and the names that share one value."""

    def space(self, weights: nn.Module, seed: int = 0) -> Space:
        """Returns the search space of `weights`."""
        if not isinstance(weights, LossWeights | TransferRatios):
            raise TypeError(
                f"searches need weights to be LossWeights or TransferRatios; got a {type(weights).__name__}. Leave "
                "the searches out, or give λ names: LossWeights([...])"
            )
        names = weights.names if isinstance(weights, LossWeights) else (*weights.targets, *weights.sources)
        groups = {"all": tuple(dict.fromkeys(names))} if self.shared else self.groups
        return space(
            weights, self.low, self.high, values=self.values, log=self.log, symmetric=self.symmetric, groups=groups
        )
