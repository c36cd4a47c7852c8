"""Run jobs in this process, one after the other."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from bilevel_hpo.jobs._workers import Workers

__all__ = ["Here"]

J = TypeVar("J")
R = TypeVar("R")


class Here(Workers[J, R]):
    """Runs each job in `submit`, which raises its error, or Ctrl-C, directly."""

    slots = 1

    def __init__(self, function: Callable[[J], R]) -> None:
        self._function = function

    def submit(self, job: J, place: int) -> Future[R]:
        """Runs the job and returns a finished future."""
        future: Future[R] = Future()
        future.set_result(self._function(job))
        return future

    def again(self, future: Future[R]) -> Future[R] | None:
        """Returns None: without this process nobody would ask."""
        return None
