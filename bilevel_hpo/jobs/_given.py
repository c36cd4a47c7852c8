"""Workers on any `concurrent.futures.Executor`: a pool of threads or processes, MPI, or others."""

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import TypeVar

from bilevel_hpo.jobs._remote import call_shipped, ship
from bilevel_hpo.jobs._workers import Workers, WorkersLostError

__all__ = ["Given"]

J = TypeVar("J")
R = TypeVar("R")


class Given(Workers[J, R]):
    """Runs jobs on an executor of the user, which is not shut down and keeps the number of threads of its processes.

    The function is sent with each job, since nothing else reaches every process of any executor.
    """

    slots = 1000  # more than any executor runs at a time; the others queue there

    def __init__(self, function: Callable[[J], R], executor: Executor) -> None:
        self._shipped = ship(function)
        self._executor = executor
        self._jobs: dict[Future[R], J] = {}

    def submit(self, job: J, place: int) -> Future[R]:
        """Begins a job."""
        try:
            future: Future[R] = self._executor.submit(call_shipped, self._shipped, job)
        except BrokenExecutor as error:
            raise _lost(self._executor, job) from error
        self._jobs[future] = job
        return future

    def again(self, future: Future[R]) -> Future[R] | None:
        """Returns None; only its owner can replace an executor that is broken or was shut down."""
        job = self._jobs.pop(future)
        if future.cancelled():
            raise _lost(self._executor, job)
        if isinstance(error := future.exception(), BrokenExecutor):
            raise _lost(self._executor, job) from error
        return None

    def cancel(self) -> None:
        """Begins no further job."""
        for future in self._jobs:
            future.cancel()


def _lost(executor: Executor, job: object) -> WorkersLostError:
    return WorkersLostError(
        f"{type(executor).__name__} is broken or shut down, job {job!r} has no result: was a process killed for lack "
        "of memory? Results so far are kept; a new run with a new executor continues from them"
    )
