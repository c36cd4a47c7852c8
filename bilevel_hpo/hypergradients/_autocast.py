"""Detect whether a loss runs under autocast."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["AutocastWatch"]


class AutocastWatch(TorchFunctionMode):
    """Records the autocast use of a loss that runs inside, whether within the loss or around all of it.

    Args:
        device: the type of the device that computes the loss.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device
        self.seen: torch.dtype | None = None
        """The dtype of an autocast region; None if there was none."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self.seen is None and torch.is_autocast_enabled(self._device):
            self.seen = torch.get_autocast_dtype(self._device)
        return func(*args, **(kwargs or {}))
