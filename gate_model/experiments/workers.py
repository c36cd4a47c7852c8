"""Worker processes of one thread each, which count the trainings that they finish."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import optuna
import torch

__all__ = ["count_training", "worker_pool"]


@contextmanager
def worker_pool(
    workers: int, keep: Callable[..., None], kept: tuple[Any, ...], *, done: int
) -> Iterator[tuple[ProcessPoolExecutor, Callable[[], int]]]:
    """A pool, and the number of trainings that are done. When the block ends with an error no further job is begun.

    Args:
        workers: processes.
        keep: called in each process at its start, with `kept`.
        kept: what all jobs need; pickled once for each process.
        done: trainings that need not be done again.
    """
    context = multiprocessing.get_context("spawn")
    counter: Any = context.Value("i", done)
    with ProcessPoolExecutor(workers, context, _start, (counter, keep, kept)) as pool:
        try:
            yield pool, lambda: int(counter.value)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def count_training() -> None:
    """One training more is done; for jobs in a `worker_pool`."""
    with _Worker.counter.get_lock():
        _Worker.counter.value += 1


class _Worker:
    """What a worker process keeps from its start."""

    counter: "Synchronized[int]"


def _start(counter: "Synchronized[int]", keep: Callable[..., None], kept: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.counter = counter
    keep(*kept)


def _end_with_parent() -> None:
    """A killed main process must not leave workers behind that go on writing into its folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
