"""Undo an outer step: λ and the outer optimizer as they were before it."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["Before"]


class Before:
    """A copy of what an outer step changes.

    Args:
        raw: the parameters of `weights`.
        optimizer: the outer optimizer.
    """

    def __init__(self, raw: Iterable[Tensor], optimizer: torch.optim.Optimizer) -> None:
        self._raw = [(p, p.detach().clone()) for p in raw]
        self._optimizer = optimizer
        self._state = {p: copy.deepcopy(state) for p, state in optimizer.state.items()}
        self._settings = [
            {name: copy.deepcopy(value) for name, value in group.items() if name != "params"}
            for group in optimizer.param_groups
        ]

    @torch.no_grad()
    def put_back(self) -> None:
        """Restores the parameters, and the state and settings of the optimizer."""
        for p, value in self._raw:
            p.copy_(value)
        self._optimizer.state.clear()
        self._optimizer.state.update(self._state)
        for group, settings in zip(self._optimizer.param_groups, self._settings, strict=True):
            group.update(settings)
