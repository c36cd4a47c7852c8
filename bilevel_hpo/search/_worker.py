"""A process that takes part in a search: its name, its sign of life, and how others see that it is gone."""

import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from bilevel_hpo.search._storage import patiently

__all__ = ["BEAT", "WORKER", "Worker", "fail", "has_ended", "is_on_this_host", "is_this_process"]

WORKER = "worker"
"""User attribute of a trial: who evaluates it, `host:pid:start of the process:token`."""
BEAT = "beat"
"""User attribute of a running trial: a number that grows while its worker lives."""

_HOST = platform.node()
_P = ParamSpec("_P")
_T = TypeVar("_T")
_active: set[str] = set()


class Worker:
    """One search's presence in a study, within `with`.

    A worker that has ended on this host is known at once by its process id. One on another host is given up when its
    beat has not changed for `grace` seconds of this process's own clock, in which the storage always answered.
    """

    def __init__(self, study: optuna.Study, grace: float) -> None:
        self.name = f"{_HOST}:{os.getpid()}:{_begun(os.getpid())}:{uuid.uuid4().hex[:12]}"
        self._study, self._grace = study, grace
        self._held: set[int] = set()
        self._seen: dict[int, tuple[object, float]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        _active.add(self.name)
        if not isinstance(self._study._storage, InMemoryStorage):
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        _active.discard(self.name)

    def call(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """`patiently`; what was seen of others before the storage went away counts no more."""
        return patiently(partial(call, *args, **kwargs), self._seen.clear)

    def hold(self, trial_id: int) -> None:
        """Give signs of life for this trial from now on."""
        self._held.add(trial_id)

    def release(self, trial_id: int) -> None:
        """The trial is finished."""
        self._held.discard(trial_id)

    def fail_dead(self, trials: list[FrozenTrial]) -> bool:
        """Fail those of the running trials whose worker is gone; whether there were any."""
        dead = [trial for trial in trials if trial.state is TrialState.RUNNING and self._is_dead(trial)]
        for trial in dead:
            self.call(fail, self._study, trial)
        return bool(dead)

    def _is_dead(self, trial: FrozenTrial) -> bool:
        if WORKER not in trial.user_attrs:  # not begun by a search of ours, all of which sign their trials
            return True
        worker = str(trial.user_attrs[WORKER])
        if is_this_process(worker):
            return worker not in _active
        if has_ended(worker):
            return True
        beat, now = trial.user_attrs.get(BEAT), time.monotonic()
        seen, since = self._seen.setdefault(trial._trial_id, (beat, now))
        if seen != beat:
            self._seen[trial._trial_id] = (beat, now)
            return False
        return now - since > self._grace

    def _beat(self) -> None:
        count = 0
        while not self._stop.wait(self._grace / 4):
            count += 1
            for trial_id in tuple(self._held):
                try:
                    self._study._storage.set_trial_user_attr(trial_id, BEAT, count)
                except Exception:  # the storage may be away or the trial finished; the next beat comes anyway
                    continue


def fail(study: optuna.Study, trial: FrozenTrial) -> None:
    """Mark an unfinished trial as failed; nothing happens if another process was quicker."""
    try:
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    except optuna.exceptions.UpdateFinishedTrialError:
        return
    params = trial.system_attrs.get("fixed_params")
    if params is not None:
        study.enqueue_trial(params)


def is_this_process(worker: str) -> bool:
    """Whether this process carries, or carried, that name."""
    host, pid, begun, _ = worker.rsplit(":", 3)
    return host == _HOST and int(pid) == os.getpid() and begun == _begun(os.getpid())


def is_on_this_host(worker: str) -> bool:
    """Whether the process of that name runs, or ran, here."""
    return worker.rsplit(":", 3)[0] == _HOST


def has_ended(worker: str) -> bool:
    """Whether the process of that name is known to be gone; of one on another host that is never known."""
    host, pid, begun, _ = worker.rsplit(":", 3)
    if host != _HOST or os.name != "posix":  # elsewhere than on POSIX systems, os.kill would end the process
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _begun(int(pid)) != begun


def _begun(pid: int) -> str:
    """When a process began, where Linux tells it; "ended" of one whose parent has not noticed its end."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]
