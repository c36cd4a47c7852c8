"""What `drive` asks of those who do the jobs."""

from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["Workers", "WorkersLostError"]

J = TypeVar("J")
R = TypeVar("R")


class WorkersLostError(RuntimeError):
    """What ran a job is gone, and trying again has not helped; the message names the job and what may be the cause."""


class Workers(Generic[J, R]):
    """Those who do the jobs of one function."""

    slots: int
    """Jobs that are handed over at a time; 1 where they run in this process."""

    def submit(self, job: J, place: int) -> Future[R]:
        """Begin a job.

        Args:
            job: what the function is called with.
            place: of its plan. Where jobs queue, those of a lower place go first.
        """
        raise NotImplementedError

    def again(self, future: Future[R]) -> Future[R] | None:
        """To be asked about every future that has ended: the future of the next attempt, if what ran the job is gone;
        otherwise None.

        Raises:
            WorkersLostError: that has happened too often.
        """
        raise NotImplementedError
