"""The ways of choosing λ that are compared. Each is one `Method`."""

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
    """The start of λ, and the constraint that it obeys."""

    constraint: Constraint
    init: float | Matrix | None = None
    """Start of λ: one number for every pair, or a matrix `[targets][sources]` whose diagonal is not used. None: the
    constraint's own start."""

    def __call__(self, tasks: Sequence[str]) -> TransferRatios:
        """Return a module that holds λ `[T, T]` for these T tasks."""
        init = None if self.init is None else torch.as_tensor(self.init, dtype=torch.get_default_dtype())
        if init is not None:
            init = init.expand(len(tasks), len(tasks))
        return TransferRatios(tasks, init=init, constraint=self.constraint)


@dataclass(frozen=True)
class Losses:
    """The training loss, which θ is trained on, and the validation loss, which λ is learned from."""

    train: TrainLoss
    val: DirectPathLoss | PathLoss = field(default_factory=DirectPathLoss)

    def of(self, settings: Settings) -> "Losses":
        """Return these losses with the settings' `geometry_share` and `relative_losses`.

        A `PathLoss` does not change: it always uses the losses themselves, not their logarithms.
        """
        val = self.val if isinstance(self.val, PathLoss) else replace(self.val, relative=settings.relative_losses)
        train = replace(self.train, geometry_share=settings.geometry_share, relative=settings.relative_losses)
        return Losses(train, val)


@dataclass(frozen=True)
class Learning:
    """How λ is learned."""

    estimator: Hypergradient
    """Estimates the hypergradient, the gradient of the validation loss in λ."""
    outer_lr: float
    """Learning rate of Adam on the raw (unconstrained) parameters of λ."""
    outer_every: int | None = None
    """Number of inner steps (on θ) per outer step (on λ); None: as many as an epoch has."""
    warm_up: float = 0.25
    """Share of all inner steps that come before the first outer step, 0 to 1. Early hypergradients say what is good for
    the next few steps, not for the end of the training (docs/short_horizon.md)."""

    def schedule(self, epochs: int, steps: int) -> tuple[int, int]:
        """Return the inner steps per outer step, and those before the first, for `epochs` epochs of `steps` steps."""
        return steps if self.outer_every is None else self.outer_every, round(self.warm_up * epochs * steps)


@dataclass(frozen=True)
class Method:
    """A way of choosing λ: its start and constraint, the losses, and how it is learned if it is."""

    name: str
    """Short name, as on the command line and in files."""
    title: str
    """Title in reports."""
    ratios: Callable[[Sequence[str]], TransferRatios]
    """Function from the names of the tasks to a module with λ: `Ratios`, or your own function."""
    losses: Losses
    learning: Learning | None = None
    """How λ is learned; None: λ stays constant."""

    def learning_with(self, **changes: Any) -> "Method":
        """Return the same method with these fields of `Learning` changed.

        Raises:
            ValueError: the method has a constant λ.
        """
        if self.learning is None:
            raise ValueError(f"{self.name or 'the method'} has a constant λ and learns nothing")
        return replace(self, learning=replace(self.learning, **changes))


AVERAGED = Losses(TrainLoss(mapping="mean"))
"""Mapping losses are averaged over the sources of a target, which makes λ = 1 the stronger baseline."""
LITERAL = Losses(TrainLoss(mapping="sum", geometry="mean"))
"""Mapping losses are summed over the sources of a target, as the paper prints them and as weights on a budget need
them. The geometric terms are averaged, as in `AVERAGED`."""


def constant(name: str, title: str, lambda_: float | Matrix, losses: Losses = AVERAGED) -> Method:
    """Return a method with a constant λ: one number for every pair, or a matrix `[targets][sources]`.

    The diagonal of the matrix is not used.
    """
    high = max(1.0, float(torch.as_tensor(lambda_).max()))
    return Method(name, title, Ratios(Box(0.0, high), lambda_), losses)


LEARNED: Mapping[str, Method] = {
    "budget": Method(
        "budget",
        "learned: one-step hypergradient on a budget",
        # A direct path that starts at 0.8 leaves 0.2 for the sources: λ = 0.2/0.8 = 0.25 in units of the direct path.
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
    """Return λ `[T, T]` in units of each target's direct path, for mapping losses averaged over the T−1 sources.

    The diagonal is 1. A free λ stays as it is; the weights W of a budget become (T−1)·W[t, s] / W[t, t], so that both
    kinds have the same scale.
    """
    diagonal = ratios.diagonal()
    if bool((diagonal == 1).all()):
        return ratios.clone()
    lambda_ = (len(ratios) - 1) * ratios / diagonal[:, None]
    return lambda_.fill_diagonal_(1.0)


def pairs(tasks: Sequence[str]) -> list[str]:
    """Return the names of the symmetric λ, one for each unordered pair of tasks, such as `"DS|HV"`."""
    return [f"{a}|{b}" for a, b in combinations(tasks, 2)]
