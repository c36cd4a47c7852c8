"""The random number generators, kept as they were and replayed."""

from types import TracebackType

import torch
from torch import Tensor

__all__ = ["RandomState"]


class RandomState:
    """`with RandomState() as random:` leaves the generators of CPU and GPUs as they were.

    Inside, `random.rewind()` goes back to the start, so that a second pass over the same loss draws the same
    dropout masks and perturbations as the first.
    """

    def __enter__(self) -> "RandomState":
        self._start = _get()
        return self

    def rewind(self) -> None:
        """Back to the state at entry."""
        _set(self._start)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.rewind()


def _get() -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
