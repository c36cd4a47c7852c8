"""The ways of choosing λ that are compared, each a declaration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from bilevel_hpo import Box, Budget, Direct, Hypergradient, OneStep, TransferRatios
from gate_model.model.losses import DirectPathLoss, PathLoss, TrainLoss

__all__ = ["LEARNED", "SHARED", "Constant", "Learned", "Method", "pairs", "relative"]


@dataclass(frozen=True)
class Constant:
    """λ is fixed during training: one number for every pair, or a matrix `[targets][sources]`, diagonal unused."""

    name: str
    title: str
    lambda_: float | tuple[tuple[float, ...], ...]

    def ratios(self, tasks: Sequence[str]) -> TransferRatios:
        """Fixed λ in any non-negative range."""
        values = torch.as_tensor(self.lambda_, dtype=torch.get_default_dtype())
        high = max(1.0, float(values.max()))
        return TransferRatios(tasks, init=values.expand(len(tasks), len(tasks)), constraint=Box(0.0, high))

    def train_loss(self) -> TrainLoss:
        """Mapping losses averaged over the sources, so that λ = 1 is the stronger baseline."""
        return TrainLoss(mapping="mean")


@dataclass(frozen=True)
class Learned:
    """λ is learned during training, by `estimator`."""

    name: str
    title: str
    estimator: Literal["one_step", "direct"]
    outer_lr: float
    """Adam's learning rate on the raw parameters."""
    outer_every: int | None = None
    """Inner steps per outer step; None: those of an epoch."""
    warm_up: float = 0.25
    """Share of all inner steps before the first outer step: until then hypergradients say what is good for the next
    steps and not for the end (docs/short_horizon.md)."""

    def ratios(self, tasks: Sequence[str]) -> TransferRatios:
        """A budget per target for true hypergradients; λ = 1 in [0, 1] for the algorithm as published.

        The budget starts with 0.8 for the direct path, which is λ = 0.25 in its units.
        """
        if self.estimator == "direct":
            return TransferRatios(tasks, init=1.0, constraint=Box(0.0, 1.0))
        return TransferRatios(tasks, constraint=Budget(total=1.0, direct=0.8))

    def schedule(self, epochs: int, steps: int) -> tuple[int, int]:
        """Inner steps per outer step, and before the first one, in `epochs` epochs of `steps` inner steps."""
        return steps if self.outer_every is None else self.outer_every, round(self.warm_up * epochs * steps)

    def train_loss(self) -> TrainLoss:
        """Weights on a budget are used as they are; free ones are averaged over the sources."""
        return TrainLoss(mapping="mean") if self.estimator == "direct" else TrainLoss(mapping="sum", geometry="mean")

    def val_loss(self) -> DirectPathLoss | PathLoss:
        """Algorithm 3 differentiates the weighted paths; a true hypergradient asks for the direct paths only."""
        return PathLoss(mapping="mean") if self.estimator == "direct" else DirectPathLoss()

    def hypergradient(self) -> Hypergradient:
        """The engine's estimator."""
        return Direct() if self.estimator == "direct" else OneStep()


Method = Constant | Learned

LEARNED: Mapping[str, Learned] = {
    "budget": Learned("budget", "learned: one-step hypergradient on a budget", "one_step", outer_lr=0.1),
    "direct": Learned(
        "direct", "learned: Direct, algorithm 3 as published", "direct", outer_lr=0.02, outer_every=8, warm_up=0.0
    ),
}


def relative(ratios: Tensor) -> Tensor:
    """λ `[T, T]` in units of each target's direct path, mapping losses averaged over the T−1 sources; diagonal 1.

    For free λ that is λ itself; a budget's weights W become (T−1)·W[t, s] / W[t, t]: the same scale for both.
    """
    diagonal = ratios.diagonal()
    if bool((diagonal == 1).all()):
        return ratios.clone()
    lambda_ = (len(ratios) - 1) * ratios / diagonal[:, None]
    return lambda_.fill_diagonal_(1.0)


SHARED = "all pairs"
"""Name of the only λ of a search that gives all pairs the same."""


def pairs(tasks: Sequence[str]) -> list[str]:
    """Names of the symmetric λ, one per unordered pair: `"DS|HV"`."""
    return [f"{a}|{b}" for a, b in combinations(tasks, 2)]
