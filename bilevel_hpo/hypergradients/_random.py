"""The random number generators, kept as they were and replayed."""

from types import TracebackType

import torch
from torch import Tensor

__all__ = ["RandomState"]


class RandomState:
    """The state of the generators of CPU and GPUs when it was made.

    `with RandomState() as random:` leaves them as they were; `random.rewind()` goes back to that state, so that a
    second pass over the same loss draws the same dropout masks and perturbations as the first.
    """

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda: list[Tensor] = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def rewind(self) -> None:
        """Back to the state at the start."""
        torch.set_rng_state(self._cpu)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)

    def __enter__(self) -> "RandomState":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.rewind()
