"""The interface between the training loop and the object that takes the steps of an epoch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from bilevel_hpo.signal import Verdict
from gate_model.model.gate import GATE
from gate_model.training.methods import relative

__all__ = ["Passed", "Stepper"]


class Passed(NamedTuple):
    """The numbers of one epoch of N networks."""

    seconds: float
    """Seconds of each network since the first epoch began, without the pauses between runs."""
    train_losses: list[float]
    """Mean training loss of each network over the epoch, N numbers."""
    lr: float
    """Learning rate of θ after the epoch."""


class Stepper(ABC):
    """N networks with their λ, and the steps that move both: (θ, λ) ↦ (θ, λ) after one pass over the train batches."""

    networks: Sequence[GATE]

    @abstractmethod
    def epoch(self) -> Passed:
        """Take the steps of the next epoch."""

    @abstractmethod
    def trajectory(self, place: int) -> Tensor:
        """Return λ or W of the network at `place`, as it entered the loss, at the start and after every epoch so far.

        The tensor has shape `[epochs + 1, T, T]` and is on the CPU.
        """

    def lambda_(self, place: int) -> Tensor:
        """Return the present λ `[T, T]` of the network at `place`, in units of the direct path."""
        return relative(self.trajectory(place)[-1])

    def outer_steps(self, place: int) -> list[dict[str, Any]]:
        """Return one entry for each step on λ; the list is empty if λ is not learned from hypergradients."""
        return []

    def verdict(self, place: int) -> Verdict | None:
        """Return whether the hypergradients say anything about λ; None if there are none."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors, numbers and strings. A stepper that loads it continues as if it had not stopped.

        Raises:
            NotImplementedError: trainings with this stepper cannot be resumed.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be resumed")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`.

        Raises:
            NotImplementedError: trainings with this stepper cannot be resumed.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be resumed")

    def finish(self) -> None:  # noqa: B027
        """Called once after the last epoch. After this the networks must own their parameters."""
