"""The interface of workers, as `drive` uses it."""

from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["Workers", "WorkersLostError"]

J = TypeVar("J")
R = TypeVar("R")


class WorkersLostError(RuntimeError):
    """Raised when the worker of a job is lost and retries did not help; names the job and a likely cause."""


class Workers(Generic[J, R]):
    """The workers that run the jobs of one function."""

    slots: int
    """The number of jobs accepted at a time; 1 if they run in this process."""

    def submit(self, job: J, place: int) -> Future[R]:
        """Begins a job.

        Args:
            job: the argument of the function.
            place: the place of its plan. Among queued jobs, those with a lower place go first.
        """
        raise NotImplementedError

    def again(self, future: Future[R]) -> Future[R] | None:
        """Called for every finished future; returns the future of the next attempt if the worker of the job was lost,
        otherwise None.

        Raises:
            WorkersLostError: the worker was lost too often.
        """
        raise NotImplementedError
