"""Save, restore and replay the random number generators."""

from types import TracebackType

import torch
from torch import Tensor

__all__ = ["RandomState"]


class RandomState:
    """The state of the CPU and GPU generators at the time of its creation.

    `with RandomState() as random:` restores them at its end; `random.rewind()` returns to the saved state, so that a
    second pass over the same loss draws the same dropout masks and perturbations as the first.
    """

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda: list[Tensor] = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def rewind(self) -> None:
        """Returns to the state at the start."""
        torch.set_rng_state(self._cpu)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)

    def __enter__(self) -> "RandomState":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.rewind()
