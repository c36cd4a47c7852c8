"""Jobs on a Dask cluster, through one client of our own."""

import logging
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar
from uuid import uuid4

import dask
import distributed

from bilevel_hpo.jobs._remote import Shipped, call_shipped, ship, use_one_thread
from bilevel_hpo.jobs._workers import Workers, WorkersLostError

__all__ = ["Dask"]

J = TypeVar("J")
R = TypeVar("R")

_PATIENCE = 300  # seconds that a scheduler may be away
_logger = logging.getLogger(__name__)
_busy = Lock()


class Dask(Workers[J, R]):
    """A job whose worker dies is run again by Dask; one whose scheduler went is submitted again here.

    The client finds a scheduler that comes back by itself. Dask's workers do not wait for it: they end when it does.

    Args:
        function: job ↦ result.
        on: the address of a scheduler, or a client, which tells the address and how to be let in.
    """

    slots = 1000  # a cluster that adapts to its work must see the queue

    def __init__(self, function: Callable[[J], R], on: "str | distributed.Client") -> None:
        if isinstance(on, str):
            self._address, security = on, None
            distributed.Client(on, set_as_default=False).close()  # a wrong address is an error within seconds
        else:
            self._address, security = on.scheduler.address, on.security
        self._client = distributed.Client(
            self._address, security=security, timeout=_PATIENCE, set_as_default=False, name="bilevel-hpo"
        )
        self._shipped = ship(function)
        self._function = self._send()
        self._jobs: dict[Future[R], tuple[J, int]] = {}

    def submit(self, job: J, place: int) -> Future[R]:
        """Begin a job."""
        future: Future[R] = Future()
        self._jobs[future] = job, place
        key = f"bilevel-hpo-job-{uuid4().hex}"
        self._client.submit(_call, self._function, job, key=key, priority=-place, pure=False).add_done_callback(
            lambda remote: _settle(future, remote)
        )
        return future

    def again(self, future: Future[R]) -> Future[R] | None:
        """The next attempt if the scheduler went."""
        job, place = self._jobs.pop(future)
        error = future.exception()
        if isinstance(error, distributed.KilledWorker):
            raise WorkersLostError(
                f"the worker died in each of {error.allowed_failures + 1} attempts at job {job!r}: out of memory? "
                f"The last was {error.last_worker.address}"
            ) from error
        if not isinstance(error, _LostError):
            return None
        if self._client.status == "closed":
            raise WorkersLostError(
                f"the Dask scheduler at {self._address} has been away for {_PATIENCE} seconds. Results so far are kept"
            ) from error
        if self._function.cancelled():
            _logger.warning(
                "The Dask scheduler at %s is away. If it is back within %d seconds, jobs without a result are "
                "submitted again. Its workers have ended with it: start them again too.",
                self._address,
                _PATIENCE,
            )
            self._function = self._send()
        return self.submit(job, place)

    def close(self) -> None:
        """Dask drops what is queued."""
        self._client.close()

    def _send(self) -> "distributed.Future[Shipped]":
        """The function as a task, which Dask runs again when the worker that holds its result dies."""
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            return self._client.submit(
                Shipped, self._shipped.key, self._shipped.pickled, key=f"bilevel-hpo-function-{uuid4().hex}", pure=False
            )


class _LostError(Exception):
    """There is no result, and it is not the job's fault."""


class _RemoteError(Exception):
    """The cause of an error that comes from another machine: its traceback there."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _settle(future: Future[Any], remote: "distributed.Future[Any]") -> None:
    """Copy the outcome, in the thread in which Dask calls back."""
    if remote.status == "error":
        error = remote.exception()
        error.__cause__ = _RemoteError("".join(traceback.format_exception(type(error), error, remote.traceback())))
        future.set_exception(error)
        return
    try:
        future.set_result(remote.result())
    except BaseException as error:  # cancelled, or the connection broke under the result
        lost = _LostError()
        lost.__cause__ = error
        future.set_exception(lost)


def _call(shipped: Shipped, job: Any) -> Any:
    """In a process of the cluster."""
    if not _busy.acquire(blocking=False):
        raise RuntimeError(
            "two jobs run in one process, where they would share torch's random numbers: start Dask's workers with one "
            "thread each (dask worker --nworkers N --nthreads 1, LocalCluster(n_workers=N, threads_per_worker=1))"
        )
    try:
        use_one_thread()
        return call_shipped(shipped, job)
    finally:
        _busy.release()
