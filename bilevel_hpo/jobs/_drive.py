"""One driver for all plans: jobs go to the workers, results come back to the plans."""

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
    """Work until no plan has a job left. An error in a job ends the run; results that are there are kept.

    Args:
        plans: in the order of their importance: among jobs that wait, those of the first go first.
        workers: of `bilevel_hpo.jobs.workers`.
        ended: called after each job whose result its plan has taken.
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
    """All that have ended; at least one is waited for."""
    yield over.get()
    while not over.empty():
        yield over.get()


def _failed(future: Future[R]) -> bool:
    """Sorts by whether there is a result, so that an error keeps no plan from the results that came with it."""
    return future.cancelled() or future.exception() is not None
