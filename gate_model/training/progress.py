"""The report on a training after each epoch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SMALL_LAMBDA", "EpochReport", "Progress", "epoch_report"]

SMALL_LAMBDA = 0.1
"""A λ below this value counts as small in the reports; most λ that the paper finds are below it."""


@dataclass(frozen=True)
class EpochReport:
    """One epoch, as shown in the terminal and written to history.csv.

    λ is in units of the direct path; the diagonal is left out.
    """

    epoch: int
    seconds: float
    """Seconds since the first epoch began, without the pauses between runs."""
    train_loss: float
    """Mean training loss of the epoch."""
    selection: float
    """RMSE on the selection molecules: mean over tasks, standardised labels."""
    lr: float
    """Learning rate of θ after the epoch."""
    lambda_mean: float
    lambda_min: float
    lambda_max: float
    lambda_small: float
    """Share of the λ below `SMALL_LAMBDA`, 0 to 1."""


Progress = Callable[[EpochReport], object]
"""A function that is called after every epoch."""


def epoch_report(
    epoch: int, seconds: float, train_loss: float, score: float, lr: float, lambda_: Tensor
) -> EpochReport:
    """Return the report of an epoch.

    Args:
        epoch: number of the epoch, from 1.
        seconds: seconds since the first epoch began.
        train_loss: mean training loss.
        score: RMSE on the selection molecules.
        lr: learning rate of θ.
        lambda_: λ `[T, T]` after the epoch, in units of the direct path.
    """
    off = lambda_[~torch.eye(len(lambda_), dtype=torch.bool, device=lambda_.device)]
    if len(off) == 0:  # a single task has no sources
        off = lambda_.new_zeros(1)
    return EpochReport(
        epoch=epoch,
        seconds=seconds,
        train_loss=train_loss,
        selection=score,
        lr=lr,
        lambda_mean=float(off.mean()),
        lambda_min=float(off.min()),
        lambda_max=float(off.max()),
        lambda_small=float((off < SMALL_LAMBDA).float().mean()),
    )
