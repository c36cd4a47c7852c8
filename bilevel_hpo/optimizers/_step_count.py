"""How many steps an optimizer has taken, from a hook that changes nothing."""

from typing import Any

import torch

__all__ = ["StepCount", "step_count"]


class StepCount:
    """A step hook that counts. `rule_for`, which refuses all other hooks, lets it pass."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """After a step."""
        self.steps += 1


def step_count(optimizer: torch.optim.Optimizer) -> StepCount | None:
    """The counter of `optimizer`, put there by the first call; None for an optimizer that knows no hooks.

    A tensor's version does not show a step: the fused steps of torch leave it as it was.

    Args:
        optimizer: the one that steps, without wrappers.
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
