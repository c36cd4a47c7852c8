"""The interface of a plan of jobs."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

__all__ = ["Plan"]

J = TypeVar("J")
R_contra = TypeVar("R_contra", contravariant=True)


class Plan(Protocol[J, R_contra]):
    """A plan of jobs, which may depend on the results of earlier ones: a grid, a search, a single training.

    `drive` calls both methods in one thread. The jobs of a plan must depend only on the results, not on the order
    in which they arrive: then a run on many machines ends with the same numbers as a run on one.
    """

    def start(self) -> Sequence[J]:
        """Returns the jobs that can begin now, each once; none when all are done or while results are missing."""

    def finish(self, job: J, result: R_contra) -> None:
        """Takes the result of a finished job."""
