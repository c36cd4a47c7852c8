"""The worker side of a job: its function arrives as bytes, is unpickled once in each process, and is called."""

import hashlib
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from platform import node
from threading import Lock
from typing import Any

import cloudpickle
import torch

__all__ = ["Shipped", "arrive", "call", "call_shipped", "keep", "keep_in_one_thread", "ship"]

_KEPT = 4  # functions in a process that serves several drivers, or one driver for long

_functions: dict[str, Callable[[Any], Any]] = {}
_arrived: dict[str, "Shipped"] = {}
_lock = Lock()


@dataclass(frozen=True)
class Shipped:
    """A pickled function; its key tells a process whether it has the function already."""

    key: str
    pickled: bytes


def ship(function: Callable[[Any], Any]) -> Shipped:
    """Pickles the function with everything it refers to that cannot be imported: closures, notebook cells, data."""
    try:
        pickled = cloudpickle.dumps(function)
    except Exception as error:
        raise TypeError(
            f"the function of the jobs, with all that it refers to, cannot be pickled for other processes: {error}"
        ) from error
    return Shipped(hashlib.sha256(pickled).hexdigest(), pickled)


def keep(shipped: Shipped) -> None:
    """Keeps the function ready for `call`."""
    with _lock:
        if shipped.key not in _functions:
            function = _unpickled(shipped)
            while len(_functions) >= _KEPT:
                del _functions[next(iter(_functions))]
            _functions[shipped.key] = function


def keep_in_one_thread(shipped: Shipped) -> None:
    """Like `keep`, for a process that shares its machine with others: one thread, and no log lines of Optuna."""
    torch.set_num_threads(1)
    keep(shipped)
    if "optuna" in sys.modules:
        sys.modules["optuna"].logging.set_verbosity(logging.WARNING)


def arrive(shipped: Shipped) -> None:
    """Keeps the pickled function; an error in unpickling then belongs to the first job, not to the process."""
    _arrived[shipped.key] = shipped


def call(key: str, job: Any) -> Any:
    """Returns the result of a job, with a function that is kept or has arrived."""
    if key not in _functions and key in _arrived:
        keep_in_one_thread(_arrived[key])
    return _functions[key](job)


def call_shipped(shipped: Shipped, job: Any) -> Any:
    """Returns the result of a job in any process; the function is an argument."""
    keep(shipped)
    return call(shipped.key, job)


def _unpickled(shipped: Shipped) -> Callable[[Any], Any]:
    try:
        function: Callable[[Any], Any] = cloudpickle.loads(shipped.pickled)
    except Exception as error:
        raise RuntimeError(
            f"the function of the jobs cannot be unpickled on {node()}: {type(error).__name__}: {error}. Workers need "
            "every module that it imports, and Python and packages in the versions of the driver"
        ) from error
    return function
