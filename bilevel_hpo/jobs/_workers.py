"""Where jobs run: in this process, in a pool of processes, on a Dask cluster, or on any executor."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

__all__ = ["Workers", "WorkersLostError", "workers"]

J = TypeVar("J")
R = TypeVar("R")


class WorkersLostError(RuntimeError):
    """Processes that ran a job ended again and again; the message names the job and what may be the cause."""


class Workers(Generic[J, R]):
    """Jobs of one function on an executor."""

    slots: int
    """Jobs that are handed over at a time; 1 where they run in this process."""

    def submit(self, job: J) -> Future[R]:
        """Begin a job."""
        raise NotImplementedError

    def is_lost(self, future: Future[R]) -> bool:
        """Whether a future that has ended is without a result because its process is gone: its job must be submitted
        again. WorkersLostError where that has happened too often."""
        raise NotImplementedError


@contextmanager
def workers(function: Callable[[J], R], on: int | str | Executor | Any | None = None) -> Iterator[Workers[J, R]]:
    """Workers for jobs of `function`, until the block ends; an error in the block begins no further job.

    Args:
        function: job ↦ result. It is sent to each process once, by cloudpickle, so that closures, functions of a
            notebook and the data in them are welcome.
        on: None or 1: in this process, one after the other. n: a pool of so many processes of one thread each. A Dask
            scheduler by its address ("tcp://…") or a `distributed.Client`. Any `concurrent.futures.Executor`.
    """
    raise NotImplementedError
    yield
