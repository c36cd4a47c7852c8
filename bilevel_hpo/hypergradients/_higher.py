"""The steps of `bilevel_hpo.optimizers` for `higher`, which unrolls them; the registry of `higher` is not changed.

`higher` 0.2.1 has no AdamW, NAdam or RAdam, puts Adam's eps outside the bias correction and ignores `maximize`.
"""

from collections.abc import Sequence

import higher.optim
import torch
from torch import Tensor

from bilevel_hpo.optimizers import rule_for, unwrapped

__all__ = ["RuleOptimizer"]


class RuleOptimizer(higher.optim.DifferentiableOptimizer):  # type: ignore[misc]
    """Takes the next steps of `optimizer` on a copy of its state.

    Args:
        optimizer: an optimizer with an update rule.
        reference: its parameters, in the order in which `step` is given tensors for them.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, reference: Sequence[Tensor]) -> None:
        self._update_of_one = rule_for(optimizer).update
        super().__init__(unwrapped(optimizer), reference)

    def _update(self, grouped_grads: list[list[Tensor | None]], **_: object) -> None:
        for group, states, grads in zip(self.param_groups, self.state, grouped_grads, strict=True):
            for index, g in enumerate(grads):
                if g is not None:
                    state = {key: value for key, value in states[index].items() if value is not None}
                    group["params"][index], states[index] = self._update_of_one(group["params"][index], g, state, group)

    def follow(self, settings: Sequence[dict[str, Tensor]]) -> None:
        """Sets these settings in the parameter groups, as part of the graph."""
        for group, own in zip(self.param_groups, settings, strict=True):
            group.update(own)

    def detach_state(self) -> None:
        """Detaches the state from the steps that computed it."""
        for states in self.state:
            for state in states.values():
                state.update({key: value.detach() for key, value in state.items() if isinstance(value, Tensor)})
