"""Count the steps of an optimizer with a hook that changes nothing."""

from typing import Any

import torch

__all__ = ["StepCount", "step_count"]


class StepCount:
    """A step hook that counts. `rule_for`, which refuses all other hooks, lets it pass."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Counts a step."""
        self.steps += 1


def step_count(optimizer: torch.optim.Optimizer) -> StepCount | None:
    """Returns the counter of `optimizer`, added by the first call; None for an optimizer without hooks.

    A tensor's version does not show a step: torch's fused steps do not change it.

    Args:
        optimizer: the optimizer without wrappers.
    """
    hooks = getattr(optimizer, "_optimizer_step_post_hooks", None)
    if hooks is None:  # `Optimizer.__init__` was not called
        return None
    for hook in hooks.values():
        if isinstance(hook, StepCount):
            return hook
    count = StepCount()
    optimizer.register_step_post_hook(count)
    return count
