"""One process of a pool."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

import loky

from bilevel_hpo.jobs._remote import Shipped, arrive, call, keep_in_one_thread

__all__ = ["Process"]

_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "LOKY_MAX_MEMORY_LEAK_SIZE": "2e9",  # a training may well hold 300 MB more than an empty process, loky's limit
}


class Process:
    """A loky executor of one process, which starts with the first job. Loky does not run the script's `__main__` in it.

    Args:
        shipped: the function of its jobs.
        parent: the connection that closes when the driver dies.
    """

    def __init__(self, shipped: Shipped, parent: Connection) -> None:
        self._key = shipped.key
        self._executor = loky.ProcessPoolExecutor(1, initializer=_start, initargs=(parent, shipped), env=_ENVIRONMENT)
        with _interrupts_wait():
            self._kept = self._executor.submit(keep_in_one_thread, shipped)

    def submit(self, job: Any) -> Future[Any]:
        """Begins a job."""
        future: Future[Any] = self._executor.submit(call, self._key, job)
        return future

    def check(self) -> None:
        """Checks after a job: an error in unpickling the function comes before the job's own."""
        self._kept.result()

    def close(self, *, kill: bool) -> None:
        """Ends it; with `kill` even during a job."""
        self._executor.shutdown(kill_workers=kill)


def _start(parent: Connection, shipped: Shipped) -> None:
    arrive(shipped)  # loky replaces a process whose memory has grown: the next one has had no job before
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which ends this process
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()


def _end_with_parent(parent: Connection) -> None:
    """Ends this process when its driver dies, so that it does not go on computing."""
    parent.poll(None)
    os._exit(1)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hides Ctrl-C from a process that starts inside; this process receives it at the end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it unblocks SIGINT when it starts, so let it start before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
