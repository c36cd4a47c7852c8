"""A study in a file: Optuna's journal, for one driver at a time."""

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileSymlinkLock

__all__ = ["hold_journal", "open_journal"]

_SYNC_EVERY = 1.0
_STALE_AFTER = 3
"""Seconds after which the lock of a killed writer is removed; those of the living last milliseconds."""
_logger = logging.getLogger(__name__)


def open_journal(path: Path) -> JournalStorage:
    """Returns Optuna's storage in a file, new or existing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(_JournalFile(path))


def hold_journal(path: Path) -> BaseFileLock:
    """Locks the journal against other drivers until released, at the latest at the end of this process; repairs the
    file.

    Optuna's own lock, PATH.lock, guards single writes, such as those of its dashboard, which remain possible.

    Raises:
        ValueError: another process has the journal, or a line of it is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path.resolve()}.driver", timeout=0, thread_local=False, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"storage {path}: another process is searching in this file; wait for it to end, or use another file"
        ) from None
    try:
        if path.exists():
            _mend(path)
    except BaseException:
        lock.release()
        raise
    return lock


def _mend(path: Path) -> None:
    """Drops an incomplete last line, left by a full disk or a power cut: Optuna would append to it."""
    end = 0
    with path.open("rb+") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                _logger.warning("%s: its last line, %d, is incomplete and is dropped", path, number)
                file.truncate(end)
                return
            try:
                intact = isinstance(json.loads(line), dict)
            except ValueError:
                intact = False
            if not intact:
                raise ValueError(
                    f"storage {path}, line {number}: {line[:40]!r}… is not a record of an Optuna journal. Use another "
                    "file, or, if this was one, delete that line and all after it: missing trials are evaluated again"
                )
            end += len(line)


class _JournalFile(BaseJournalBackend):
    """Optuna's journal file, synced to the disk at most once a second.

    A killed process loses nothing. A power cut may lose the trials of the last second; to sync each record would
    cost 5 ms or more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = JournalFileBackend(str(path))
        self._lock = JournalFileSymlinkLock(str(path), grace_period=_STALE_AFTER)
        self._synced = 0.0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        yield from self._file.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._lock.acquire()
        try:
            with self._path.open("ab") as file:
                file.write(lines.encode())
                file.flush()
                if time.monotonic() - self._synced > _SYNC_EVERY:
                    os.fsync(file.fileno())
                    self._synced = time.monotonic()
        finally:
            self._lock.release()
