"""What the training loop needs of whatever takes the steps of an epoch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from bilevel_hpo.signal import Verdict
from gate_model.model.gate import GATE
from gate_model.training.methods import relative

__all__ = ["Passed", "Stepper"]


class Passed(NamedTuple):
    """One epoch of N networks."""

    seconds: float
    """Of each network since the first epoch began, pauses between runs left out."""
    train_losses: list[float]
    """Mean over the epoch, `N`."""
    lr: float
    """Inner learning rate after the epoch."""


class Stepper(ABC):
    """N networks, their λ, and how both move: (θ, λ) ↦ (θ, λ) after one pass over the train batches."""

    networks: Sequence[GATE]

    @abstractmethod
    def epoch(self) -> Passed:
        """Take the steps of the next epoch."""

    @abstractmethod
    def trajectory(self, place: int) -> Tensor:
        """λ or W of the network at `place`, as it entered the loss: at the start and after every epoch so far,
        `[epochs + 1, T, T]`, on the CPU.
        """

    def lambda_(self, place: int) -> Tensor:
        """λ `[T, T]` of the network at `place` now, in units of the direct path."""
        return relative(self.trajectory(place)[-1])

    def outer_steps(self, place: int) -> list[dict[str, Any]]:
        """What was found in the steps on λ; empty where λ does not move by a hypergradient."""
        return []

    def verdict(self, place: int) -> Verdict | None:
        """Whether the hypergradients say anything about λ; None where there are none."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings; a stepper that loads them goes on as if it had not stopped."""
        raise NotImplementedError(f"{type(self).__name__} cannot be resumed")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        raise NotImplementedError(f"{type(self).__name__} cannot be resumed")

    def finish(self) -> None:  # noqa: B027
        """The networks' parameters are their own from here on."""
