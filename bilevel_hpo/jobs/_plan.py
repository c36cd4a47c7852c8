"""What is to be done, as far as it is known yet."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

__all__ = ["Plan"]

J = TypeVar("J")
R_contra = TypeVar("R_contra", contravariant=True)


class Plan(Protocol[J, R_contra]):
    """Jobs whose choice may depend on the results of earlier ones: a grid, a search, a single training.

    `drive` calls both methods in one thread. What a plan asks for must depend on the results alone, not on the order
    in which they come: then a run on many machines ends with the numbers of a run on one.
    """

    def start(self) -> Sequence[J]:
        """The jobs that can begin now; each is handed out once. None when all is done, or results are waited for."""

    def finish(self, job: J, result: R_contra) -> None:
        """A job has ended."""
