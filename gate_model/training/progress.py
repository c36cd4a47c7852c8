"""What is told of a training after each of its epochs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SMALL_LAMBDA", "EpochReport", "Progress", "epoch_report"]

SMALL_LAMBDA = 0.1
"""A λ below this counts as small in the reports; the paper finds most of its own below it."""


@dataclass(frozen=True)
class EpochReport:
    """One epoch as it is shown and as it stands in history.csv; λ in units of the direct path, off the diagonal."""

    epoch: int
    seconds: float
    """Since the first epoch began, pauses between runs left out."""
    train_loss: float
    selection: float
    """RMSE on the selection molecules, mean over tasks, standardised."""
    lr: float
    """Inner learning rate after the epoch."""
    lambda_mean: float
    lambda_min: float
    lambda_max: float
    lambda_small: float
    """Share of the λ below `SMALL_LAMBDA`."""


Progress = Callable[[EpochReport], object]
"""Called after every epoch."""


def epoch_report(
    epoch: int, seconds: float, train_loss: float, score: float, lr: float, lambda_: Tensor
) -> EpochReport:
    """The report of an epoch after which λ is `lambda_` `[T, T]`, in units of the direct path, and RMSE `score`."""
    off = lambda_[~torch.eye(len(lambda_), dtype=torch.bool, device=lambda_.device)]
    if len(off) == 0:  # one task alone has nobody to learn from
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
