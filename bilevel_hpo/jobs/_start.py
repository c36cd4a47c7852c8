"""Start workers: in this process, in a pool of processes, on a Dask cluster, or on any executor."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeGuard, TypeVar

from bilevel_hpo.jobs._given import Given
from bilevel_hpo.jobs._here import Here
from bilevel_hpo.jobs._workers import Workers

if TYPE_CHECKING:
    from distributed import Client

    from bilevel_hpo.jobs._dask import Dask

__all__ = ["On", "workers"]

J = TypeVar("J")
R = TypeVar("R")

On: TypeAlias = "int | str | Executor | Client | None"
"""Where jobs run (see `workers`)."""


@contextmanager
def workers(function: Callable[[J], R], on: On = None) -> Iterator[Workers[J, R]]:
    """Starts workers for jobs of `function` until the block ends; after an error in the block no further job begins.

    Args:
        function: the function from job to result. It is sent to each process once, by cloudpickle, so closures,
            functions of a notebook and the data in them work. In an executor of the user it is sent with each job.
        on: where to run. None or 1: in this process, one job after the other; n: a pool of n processes with one
            thread each; a Dask scheduler by its address ("tcp://…") or a `distributed.Client`; any
            `concurrent.futures.Executor`. Jobs in threads share torch's random numbers, so they must not draw any.

    Raises:
        TypeError, ValueError: `on` is none of these.
        ImportError: Dask is not installed.
        OSError: there is no scheduler at the address.
        WorkersLostError: raised by `drive` if the worker of a job is lost and retries did not help.
    """
    with ExitStack() as stack:
        yield _entered(stack, function, on)


def _entered(stack: ExitStack, function: Callable[[J], R], on: On) -> Workers[J, R]:
    """Returns the workers; Loky and Dask are imported only if they are used."""
    if on is None:
        return Here(function)
    if isinstance(on, Executor):
        given = Given(function, on)
        stack.callback(given.cancel)
        return given
    if isinstance(on, str) or _is_client(on):
        cluster = _dask(function, on)
        stack.callback(cluster.close)
        return cluster
    if not isinstance(on, int) or isinstance(on, bool):
        raise TypeError(
            "on must be a number of processes, the address of a Dask scheduler, a distributed.Client, an Executor "
            f"or None; got {on!r}"
        )
    if on < 1:
        raise ValueError(f"on must be at least one process; got {on}")
    if on == 1:
        return Here(function)
    from bilevel_hpo.jobs._pool import Pool  # noqa: PLC0415

    pool = Pool(function, on)
    stack.push(lambda error, *_: pool.close(kill=error is not None))
    return pool


def _is_client(on: object) -> "TypeGuard[Client]":
    return "distributed" in sys.modules and isinstance(on, sys.modules["distributed"].Client)


def _dask(function: Callable[[J], R], on: "str | Client") -> "Dask[J, R]":
    if isinstance(on, str) and ":" not in on:
        raise ValueError(f"on must be the address of a Dask scheduler, such as 'tcp://10.0.0.1:8786'; got {on!r}")
    try:
        from bilevel_hpo.jobs._dask import Dask  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ImportError(f"on={on!r} needs Dask: pip install 'bilevel-hpo[dask]'") from error
    return Dask(function, on)
