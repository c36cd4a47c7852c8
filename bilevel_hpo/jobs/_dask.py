"""Jobs on a Dask cluster, through one client of our own."""

import logging
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock
from time import sleep
from typing import Any, TypeVar
from uuid import uuid4

import distributed

from bilevel_hpo.jobs._remote import Shipped, call, keep_in_one_thread, ship
from bilevel_hpo.jobs._workers import Workers, WorkersLostError

__all__ = ["Dask"]

J = TypeVar("J")
R = TypeVar("R")

_PATIENCE = 300  # seconds that a scheduler may be away
_PAUSE = 0.5
_logger = logging.getLogger(__name__)
_busy = Lock()


class Dask(Workers[J, R]):
    """Runs jobs on Dask. If a worker dies, Dask repeats its job; if the scheduler is lost, jobs are submitted again
    here.

    The client reconnects to a restarted scheduler by itself. Dask's workers do not wait for it: they end with it.

    Args:
        function: the function from job to result.
        on: the address of a scheduler, or a client, which holds the address and the credentials.
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
        self._plugin = _Function(ship(function))
        self._client.register_plugin(self._plugin)
        self._schedulers = 1
        self._jobs: dict[Future[R], tuple[J, int, int]] = {}

    def submit(self, job: J, place: int) -> Future[R]:
        """Begins a job."""
        future: Future[R] = Future()
        self._jobs[future] = job, place, self._schedulers
        key = f"bilevel-hpo-job-{uuid4().hex}"
        self._client.submit(_call, self._plugin.name, job, key=key, priority=-place, pure=False).add_done_callback(
            lambda remote: _settle(future, remote)
        )
        return future

    def again(self, future: Future[R]) -> Future[R] | None:
        """Returns the next attempt if the scheduler was lost."""
        job, place, scheduler = self._jobs.pop(future)
        error = future.exception()
        if isinstance(error, distributed.KilledWorker):
            raise WorkersLostError(
                f"the worker died in each of {error.allowed_failures + 1} attempts at job {job!r}, perhaps for "
                f"lack of memory. The last was {error.last_worker.address}"
            ) from error
        if not isinstance(error, _LostError):
            return None
        if scheduler == self._schedulers:
            self._wait_for_scheduler()
            self._schedulers += 1
        return self.submit(job, place)

    def close(self) -> None:
        """Closes the client; Dask drops queued jobs."""
        if self._client.status == "running":
            with suppress(OSError, ValueError):  # it goes in this moment, or is a new one
                self._client.unregister_worker_plugin(self._plugin.name)
        self._client.close()

    def _wait_for_scheduler(self) -> None:
        _logger.warning(
            "The Dask scheduler at %s is away. If it is back within %d seconds, jobs without a result are submitted "
            "again. Its workers end with it: start them again too.",
            self._address,
            _PATIENCE,
        )
        while self._client.status != "closed":
            try:
                self._client.register_plugin(self._plugin)
            except OSError:
                sleep(_PAUSE)
            else:
                return
        raise WorkersLostError(f"the Dask scheduler at {self._address} has been away for {_PATIENCE} seconds")


class _Function(distributed.WorkerPlugin):  # type: ignore[misc]
    """Brings the function to each worker, whenever that joins the cluster.

    As an argument, Dask would give most jobs to the worker that has it already.
    """

    idempotent = True

    def __init__(self, shipped: Shipped) -> None:
        self.shipped = shipped
        self.name = f"bilevel-hpo-{uuid4().hex}"  # another driver may bring the same function, and end earlier


class _LostError(Exception):
    """Raised when a result is missing and the job is not the cause."""


class _RemoteError(Exception):
    """The cause of an error from another machine: its traceback there."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _settle(future: Future[Any], remote: "distributed.Future[Any]") -> None:
    """Copies the outcome, in the thread of Dask's callback."""
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


def _call(plugin: str, job: Any) -> Any:
    """Runs a job in a process of the cluster."""
    if not _busy.acquire(blocking=False):
        raise RuntimeError(
            "two jobs run in one process, where they would share torch's random numbers: start Dask's workers with one "
            "thread each (dask worker --nworkers N --nthreads 1, LocalCluster(n_workers=N, threads_per_worker=1))"
        )
    try:
        shipped = distributed.get_worker().plugins[plugin].shipped
        keep_in_one_thread(shipped)
        return call(shipped.key, job)
    finally:
        _busy.release()
