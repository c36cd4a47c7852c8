"""Drive plans: send their jobs to the workers and the results back to the plans."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from heapq import heappop, heappush
from itertools import count
from queue import SimpleQueue
from typing import TypeVar

from bilevel_hpo.jobs._plan import Plan
from bilevel_hpo.jobs._workers import Workers

__all__ = ["drive"]

J = TypeVar("J")
R = TypeVar("R")


def drive(plans: Sequence[Plan[J, R]], workers: Workers[J, R], ended: Callable[[J], object] = lambda job: None) -> None:
    """Runs until no plan has a job left. An error in a job ends the run; earlier results are kept.

    Args:
        plans: the plans by priority: among waiting jobs, those of the first plan go first.
        workers: the workers made by `bilevel_hpo.jobs.workers`.
        ended: a function called after each job whose result its plan has taken.
    """
    numbers = count()
    waiting: list[tuple[int, int, J]] = []  # a heap by place of the plan, then in the order of asking
    running: dict[Future[R], tuple[int, J]] = {}
    over: SimpleQueue[Future[R]] = SimpleQueue()

    def follow(future: Future[R], place: int, job: J) -> None:
        running[future] = place, job
        future.add_done_callback(over.put)

    while True:
        for place, plan in enumerate(plans):  # all: what one waits for may be another's result
            for job in plan.start():
                heappush(waiting, (place, next(numbers), job))
        while waiting and len(running) < workers.slots:
            place, _, job = heappop(waiting)
            follow(workers.submit(job, place), place, job)
        if not running:
            return
        for future in sorted(_taken(over), key=_failed):
            place, job = running.pop(future)
            if (again := workers.again(future)) is not None:
                follow(again, place, job)
                continue
            plans[place].finish(job, future.result())
            ended(job)


def _taken(over: "SimpleQueue[Future[R]]") -> Iterator[Future[R]]:
    """Yields all finished jobs, after waiting for at least one."""
    yield over.get()
    while not over.empty():
        yield over.get()


def _failed(future: Future[R]) -> bool:
    """Sort key: results before errors, so that plans receive all results that arrive with an error."""
    return future.cancelled() or future.exception() is not None
