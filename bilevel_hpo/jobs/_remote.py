"""What happens where a job runs: its function arrives as bytes, becomes a function once in each process, is called."""

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
    """A function on its way; a process sees by the key whether it has it already."""

    key: str
    pickled: bytes


def ship(function: Callable[[Any], Any]) -> Shipped:
    """The function with all that it refers to and that cannot be imported: closures, notebook cells, their data."""
    try:
        pickled = cloudpickle.dumps(function)
    except Exception as error:
        raise TypeError(
            f"the function of the jobs, with all that it refers to, cannot be pickled for other processes: {error}"
        ) from error
    return Shipped(hashlib.sha256(pickled).hexdigest(), pickled)


def keep(shipped: Shipped) -> None:
    """Have the function ready for `call`."""
    with _lock:
        if shipped.key not in _functions:
            function = _unpickled(shipped)
            while len(_functions) >= _KEPT:
                del _functions[next(iter(_functions))]
            _functions[shipped.key] = function


def keep_in_one_thread(shipped: Shipped) -> None:
    """The same in a process that shares its machine with others of its kind; Optuna keeps its news to itself there."""
    torch.set_num_threads(1)
    keep(shipped)
    if "optuna" in sys.modules:
        sys.modules["optuna"].logging.set_verbosity(logging.WARNING)


def arrive(shipped: Shipped) -> None:
    """Have the function at hand, without unpickling it: an error in that is the first job's, not the process's."""
    _arrived[shipped.key] = shipped


def call(key: str, job: Any) -> Any:
    """The result of a job of a function that is kept, or has arrived."""
    if key not in _functions and key in _arrived:
        keep_in_one_thread(_arrived[key])
    return _functions[key](job)


def call_shipped(shipped: Shipped, job: Any) -> Any:
    """The result of a job, wherever it is: the function comes along."""
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
