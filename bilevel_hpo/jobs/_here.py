"""In this process, one job after the other."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from bilevel_hpo.jobs._workers import Workers

__all__ = ["Here"]

J = TypeVar("J")
R = TypeVar("R")


class Here(Workers[J, R]):
    """`submit` runs the job; an error, or Ctrl-C, comes out of it directly."""

    slots = 1

    def __init__(self, function: Callable[[J], R]) -> None:
        self._function = function

    def submit(self, job: J, place: int) -> Future[R]:
        """The future has its result."""
        future: Future[R] = Future()
        future.set_result(self._function(job))
        return future

    def again(self, future: Future[R]) -> Future[R] | None:
        """None: were this process gone, nobody would ask."""
        return None
