"""A pool of processes on this machine, in which each process can be lost without the others."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import Pipe
from typing import Generic, TypeVar

from loky.process_executor import TerminatedWorkerError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from bilevel_hpo.jobs._process import Process
from bilevel_hpo.jobs._remote import ship
from bilevel_hpo.jobs._workers import Workers, WorkersLostError

__all__ = ["Pool"]

J = TypeVar("J")
R = TypeVar("R")

_ATTEMPTS = 3
_FILES = 10  # that a process keeps open in the driver: pipes, ends of queues
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Attempt(Generic[J]):
    job: J
    number: int
    process: Process


class Pool(Workers[J, R]):
    """A pool of processes with one thread each. If the system kills one, its job runs again in a new process.

    Args:
        function: the function from job to result.
        count: the number of processes, which start when there are jobs for them.
    """

    def __init__(self, function: Callable[[J], R], count: int) -> None:
        _allow_files(256 + _FILES * count)
        self.slots = count
        self._shipped = ship(function)
        self._parent, self._life = Pipe(duplex=False)  # the processes read one end; the other is open while this lives
        self._free: list[Process] = []
        self._attempts: dict[Future[R], _Attempt[J]] = {}

    def submit(self, job: J, place: int) -> Future[R]:
        """Begins a job in a process that has none."""
        return self._begin(job, 1, self._free.pop() if self._free else self._new())

    def again(self, future: Future[R]) -> Future[R] | None:
        """Returns the next attempt if the process was killed."""
        attempt = self._attempts.pop(future)
        lost = future.exception()
        if not isinstance(lost, TerminatedWorkerError):
            self._free.append(attempt.process)
            attempt.process.check()
            return None
        attempt.process.close(kill=True)
        if attempt.number == _ATTEMPTS:
            raise WorkersLostError(
                f"its process was killed in each of {_ATTEMPTS} attempts at job {attempt.job!r}, perhaps "
                "for lack of memory. Fewer processes at a time need less"
            ) from lost
        _logger.warning(
            "A process was killed, perhaps for lack of memory. Attempt %d of %d at job %r",
            attempt.number + 1,
            _ATTEMPTS,
            attempt.job,
        )
        return self._begin(attempt.job, attempt.number + 1, self._new())

    def close(self, *, kill: bool) -> None:
        """Ends the processes; with `kill` even during their jobs."""
        processes = self._free + [attempt.process for attempt in self._attempts.values()]
        with ThreadPoolExecutor(max(1, len(processes))) as threads:
            list(threads.map(lambda process: process.close(kill=kill), processes))
        self._parent.close()
        self._life.close()

    def _new(self) -> Process:
        return Process(self._shipped, self._parent)

    def _begin(self, job: J, number: int, process: Process) -> Future[R]:
        future = process.submit(job)
        self._attempts[future] = _Attempt(job, number, process)
        return future


def _allow_files(wanted: int) -> None:
    """Raises the limit of open files, which many systems set to 1,024 or 256."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
