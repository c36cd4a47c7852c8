"""How the inner learning rate moves over a training."""

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from gate_model.training.settings import Schedule

__all__ = ["scheduler"]


def scheduler(name: Schedule, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """To be stepped after every inner step.

    "cosine" falls from the optimizer's learning rate to 0; "one-cycle" (Smith and Topin, 2018) climbs from a 25th of it
    over the first 30 % of the steps and then falls to almost 0. Momentum stays as it is. Sources: the torch classes.

    Args:
        name: one of the two; ValueError for anything else.
        optimizer: its learning rate is the highest that is reached.
        steps: inner steps of the whole training.
    """
    if name == "cosine":
        return CosineAnnealingLR(optimizer, steps)
    if name == "one-cycle":
        highest = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, highest, total_steps=steps + 1, cycle_momentum=False)
    raise ValueError(f"schedule={name!r}: it must be 'cosine' or 'one-cycle'")
