"""The learning rate and weight decay of the inner optimizer as λ."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.optimizers import Group, unwrapped
from bilevel_hpo.problem._structure import Lambda

__all__ = ["InnerSettings", "SettingsOf"]

SettingsOf = Callable[[Any], Mapping[str, Tensor]]
"""λ in the shapes of `weights()` ↦ the settings by name: a scalar for all parameter groups, or one value a group."""

_NAMES = ("lr", "weight_decay")


class InnerSettings:
    """Settings of the inner optimizer that are functions of λ.

    Args:
        of: the function λ ↦ settings.
        optimizer: the inner optimizer, whose groups take these settings.
        example: a λ to check the result of the function with.

    Raises:
        UnsupportedError: it names a setting other than "lr" and "weight_decay", or one that the optimizer lacks.
        TypeError, ValueError: it does not return a mapping to tensors of the right shape.
    """

    def __init__(self, of: SettingsOf, optimizer: torch.optim.Optimizer, example: Lambda) -> None:
        self._of, self._optimizer = of, unwrapped(optimizer)
        self.write(example)

    def by_group(self, lambda_: Lambda) -> list[dict[str, Tensor]]:
        """Returns the settings of every parameter group, scalar tensors that may depend on λ."""
        found = self._of(lambda_)
        if not isinstance(found, Mapping):
            raise TypeError(
                f"inner_settings(λ) returned {type(found).__name__}; it must return a dict, e.g. {{'lr': λ['lr']}}"
            )
        groups = self._optimizer.param_groups
        by_group: list[dict[str, Tensor]] = [{} for _ in groups]
        for name, value in found.items():
            if name not in _NAMES or any(name not in group for group in groups):
                raise UnsupportedError(
                    f"inner_settings(λ) sets {name!r} of {type(self._optimizer).__name__}; it must be one of "
                    f"{', '.join(map(repr, _NAMES))} that the optimizer has"
                )
            if not isinstance(value, Tensor) or value.numel() not in (1, len(groups)):
                came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    f"inner_settings(λ)[{name!r}] is of {came}; it must be a tensor with one value, or with one for "
                    f"each of the {len(groups)} parameter groups"
                )
            values = value.reshape(-1).expand(len(groups))
            for own, one in zip(by_group, values, strict=True):
                own[name] = one
        return by_group

    def write(self, lambda_: Lambda) -> None:
        """Sets the groups of the optimizer to their values at λ."""
        with torch.no_grad():
            for group, own in zip(self._optimizer.param_groups, self.by_group(lambda_), strict=True):
                group.update({name: float(value) for name, value in own.items()})

    def groups(self, lambda_: Lambda) -> list[Group]:
        """Returns copies of the parameter groups in which the settings are functions of λ."""
        return [
            {**group, **own} for group, own in zip(self._optimizer.param_groups, self.by_group(lambda_), strict=True)
        ]
