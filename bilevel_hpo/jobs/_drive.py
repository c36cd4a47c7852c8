"""One driver for all plans: jobs go to the workers, results come back to the plans."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from bilevel_hpo.jobs._plan import Plan
from bilevel_hpo.jobs._workers import Workers

__all__ = ["drive"]

J = TypeVar("J")
R = TypeVar("R")


def drive(plans: Sequence[Plan[J, R]], workers: Workers[J, R], ended: Callable[[J], object] = lambda job: None) -> None:
    """Work until no plan has a job left. An error in a job ends the run; results that are there are kept.

    Args:
        plans: in the order of their importance: jobs of the first go first.
        workers: of `bilevel_hpo.jobs.workers`.
        ended: called after each job whose result its plan has taken.
    """
    ready: deque[tuple[Plan[J, R], J]] = deque()
    running: dict[Future[R], tuple[Plan[J, R], J]] = {}
    asked: Sequence[Any] = plans
    while True:
        for plan in asked:
            ready.extend((plan, job) for job in plan.start())
        while ready and len(running) < workers.slots:
            plan, job = ready.popleft()
            running[workers.submit(job)] = plan, job
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        asked = []
        for future in done:
            plan, job = running.pop(future)
            if workers.is_lost(future):
                ready.appendleft((plan, job))
                continue
            plan.finish(job, future.result())
            ended(job)
            asked.append(plan)
