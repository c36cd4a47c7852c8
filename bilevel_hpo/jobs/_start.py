"""Where jobs run: in this process, in a pool of processes, on a Dask cluster, or on any executor."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from bilevel_hpo.jobs._here import Here
from bilevel_hpo.jobs._workers import Workers

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["On", "workers"]

J = TypeVar("J")
R = TypeVar("R")

On: TypeAlias = "int | str | Executor | Client | None"
"""Where jobs run, see `workers`."""


@contextmanager
def workers(function: Callable[[J], R], on: Any = None) -> Iterator[Workers[J, R]]:
    """Workers for jobs of `function`, until the block ends; an error in the block begins no further job.

    Args:
        function: job ↦ result. It is sent to each process once, by cloudpickle, so that closures, functions of a
            notebook and the data in them are welcome.
        on: None or 1: in this process, one after the other. n: a pool of so many processes of one thread each. A Dask
            scheduler by its address ("tcp://…") or a `distributed.Client`. Any `concurrent.futures.Executor`.
    """
    if on is None or on == 1:
        yield Here(function)
        return
    from bilevel_hpo.jobs._pool import Pool  # noqa: PLC0415  loky is for those who want a pool

    started = Pool(function, on)
    try:
        yield started
    except BaseException:
        started.close(kill=True)
        raise
    started.close(kill=False)
