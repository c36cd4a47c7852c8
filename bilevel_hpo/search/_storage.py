"""Where a study is kept: a journal file, a database by its URL, or memory; and how long its absence is borne."""

import errno
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileSymlinkLock

__all__ = ["PATIENCE", "Storage", "open_storage", "patiently", "without_password"]

Storage = str | Path | BaseStorage | None
"""A file for the journal, the URL of a database, an Optuna storage, or None: in memory."""

PATIENCE = 300.0
"""Seconds for which calls to a storage that is away are repeated."""

_SYNC_EVERY = 1.0
_AWAY = {
    errno.ESTALE,
    errno.EIO,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
}
_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


def open_storage(storage: Storage) -> BaseStorage | None:
    """The Optuna storage; None stays None.

    Raises:
        ValueError: a URL that cannot be read, or a database that does not answer; no password is in the message.
    """
    if storage is None or isinstance(storage, BaseStorage):
        return storage
    if "://" not in str(storage):
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(_JournalFile(str(storage)))
    from bilevel_hpo.search._database import open_database, read_url  # noqa: PLC0415  SQLAlchemy takes long to import

    return open_database(read_url(str(storage)))


def without_password(storage: str) -> str:
    """A URL as it may be shown and written to files; a path stays as it is."""
    if "://" not in storage:
        return storage
    from bilevel_hpo.search._database import read_url  # noqa: PLC0415

    return read_url(storage).set(query={}).render_as_string(hide_password=True)


def patiently(call: Callable[[], _T], outage: Callable[[], object] = lambda: None) -> _T:
    """The result of `call`, repeated while the storage does not answer, for `PATIENCE` seconds at most.

    Args:
        call: may be carried out twice: an answer can be lost on its way back.
        outage: called once for each time that the storage did not answer.
    """
    until, pause = None, 0.2
    while True:
        try:
            return call()
        except Exception as error:
            if not _is_away(error):
                raise
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            if until is None:
                until = time.monotonic() + PATIENCE
                _logger.warning("the storage does not answer (%s); trying again for %.0f s", reason, PATIENCE)
            elif time.monotonic() > until:
                raise TimeoutError(f"the storage did not answer for {PATIENCE:.0f} s: {reason}") from error
            outage()
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


class _JournalFile(BaseJournalBackend):
    """Optuna's journal file, forced to the disk at most once a second.

    A process that is killed loses nothing. A power cut may lose the trials of the last second, against 5 ms and more
    for each of the records if all of them were forced to the disk.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = JournalFileBackend(path)
        self._lock = JournalFileSymlinkLock(path)
        self._synced = 0.0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        yield from self._file.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._lock.acquire()
        try:
            with Path(self._path).open("ab") as file:
                file.write(lines.encode())
                file.flush()
                if time.monotonic() - self._synced > _SYNC_EVERY:
                    os.fsync(file.fileno())
                    self._synced = time.monotonic()
        finally:
            self._lock.release()


def _is_away(error: BaseException | None) -> bool:
    from bilevel_hpo.search._database import is_connection_lost  # noqa: PLC0415

    while error is not None:
        if is_connection_lost(error) or (isinstance(error, OSError) and error.errno in _AWAY):
            return True
        error = error.__cause__
    return False
