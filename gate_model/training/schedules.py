"""Schedules of the learning rate of θ."""

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from gate_model.training.settings import Schedule

__all__ = ["scheduler"]


def scheduler(name: Schedule, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """Return the schedule of this name. Call its `step` after every inner step.

    "cosine" falls from the optimizer's learning rate to 0. "one-cycle" (Smith and Topin, 2018) rises from a 25th of it
    over the first 30 % of the steps and then falls to almost 0. Momentum does not change. Both are torch's own classes.

    Args:
        name: "cosine" or "one-cycle".
        optimizer: the optimizer; its learning rate is the highest that the schedule reaches.
        steps: number of inner steps of the whole training.

    Raises:
        ValueError: there is no schedule of this name.
    """
    if name == "cosine":
        return CosineAnnealingLR(optimizer, steps)
    if name == "one-cycle":
        highest = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, highest, total_steps=steps + 1, cycle_momentum=False)
    raise ValueError(f"schedule={name!r}: it must be 'cosine' or 'one-cycle'")
