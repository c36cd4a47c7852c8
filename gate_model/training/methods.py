"""The ways of choosing λ that are compared, each a value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo import Box, Budget, Constraint, Direct, Hypergradient, OneStep, TransferRatios
from gate_model.model.losses import DirectPathLoss, PathLoss, TrainLoss
from gate_model.training.settings import Settings

__all__ = [
    "AVERAGED",
    "LEARNED",
    "LITERAL",
    "Learning",
    "Losses",
    "Method",
    "Ratios",
    "constant",
    "pairs",
    "relative",
]

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Ratios:
    """Where λ starts, and the values it may take."""

    constraint: Constraint
    init: float | Matrix | None = None
    """One number for every pair, a matrix `[targets][sources]` whose diagonal is not used, or the constraint's own
    start."""

    def __call__(self, tasks: Sequence[str]) -> TransferRatios:
        """A module with λ `[T, T]`."""
        init = None if self.init is None else torch.as_tensor(self.init, dtype=torch.get_default_dtype())
        if init is not None:
            init = init.expand(len(tasks), len(tasks))
        return TransferRatios(tasks, init=init, constraint=self.constraint)


@dataclass(frozen=True)
class Losses:
    """What θ and λ are trained on."""

    train: TrainLoss
    val: DirectPathLoss | PathLoss = field(default_factory=DirectPathLoss)

    def of(self, settings: Settings) -> "Losses":
        """With the share of the geometric terms, and logarithms or not, of a training.

        `PathLoss` stays as it is: it belongs to the losses themselves.
        """
        val = self.val if isinstance(self.val, PathLoss) else replace(self.val, relative=settings.relative_losses)
        train = replace(self.train, geometry_share=settings.geometry_share, relative=settings.relative_losses)
        return Losses(train, val)


@dataclass(frozen=True)
class Learning:
    """How λ moves."""

    estimator: Hypergradient
    outer_lr: float
    """Adam's learning rate on the raw parameters."""
    outer_every: int | None = None
    """Inner steps per outer step; None: those of an epoch."""
    warm_up: float = 0.25
    """Share of all inner steps before the first outer step: until then hypergradients say what is good for the next
    steps and not for the end (docs/short_horizon.md)."""

    def schedule(self, epochs: int, steps: int) -> tuple[int, int]:
        """Inner steps per outer step, and before the first one, in `epochs` epochs of `steps` inner steps."""
        return steps if self.outer_every is None else self.outer_every, round(self.warm_up * epochs * steps)


@dataclass(frozen=True)
class Method:
    """A way of choosing λ."""

    name: str
    title: str
    ratios: Callable[[Sequence[str]], TransferRatios]
    """Tasks ↦ λ; `Ratios`, or a function of one's own."""
    losses: Losses
    learning: Learning | None = None
    """None: λ stays as it starts."""

    def learning_with(self, **changes: Any) -> "Method":
        """The same method with other fields of `Learning`; ValueError if λ is constant."""
        if self.learning is None:
            raise ValueError(f"{self.name or 'the method'} has a constant λ and learns nothing")
        return replace(self, learning=replace(self.learning, **changes))


AVERAGED = Losses(TrainLoss(mapping="mean"))
"""Mapping losses averaged over the sources, so that λ = 1 is the stronger baseline."""
LITERAL = Losses(TrainLoss(mapping="sum", geometry="mean"))
"""Mapping losses summed over the sources, as the paper prints them and as weights on a budget need them; the geometric
terms are averaged as everywhere else."""


def constant(name: str, title: str, lambda_: float | Matrix, losses: Losses = AVERAGED) -> Method:
    """λ is fixed during training: one number for every pair, or a matrix `[targets][sources]`, diagonal unused."""
    high = max(1.0, float(torch.as_tensor(lambda_).max()))
    return Method(name, title, Ratios(Box(0.0, high), lambda_), losses)


LEARNED: Mapping[str, Method] = {
    "budget": Method(
        "budget",
        "learned: one-step hypergradient on a budget",
        # 0.8 for the direct path at the start is λ = 0.25 in its units.
        Ratios(Budget(total=1.0, direct=0.8)),
        LITERAL,
        Learning(OneStep(), outer_lr=0.1),
    ),
    "direct": Method(
        "direct",
        "learned: Direct, algorithm 3 as published",
        Ratios(Box(0.0, 1.0), 1.0),
        replace(AVERAGED, val=PathLoss(mapping="mean")),
        Learning(Direct(), outer_lr=0.02, outer_every=8, warm_up=0.0),
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


def pairs(tasks: Sequence[str]) -> list[str]:
    """Names of the symmetric λ, one per unordered pair: `"DS|HV"`."""
    return [f"{a}|{b}" for a, b in combinations(tasks, 2)]
