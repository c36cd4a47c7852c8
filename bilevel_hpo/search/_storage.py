"""The storage of a study: a journal file, a database by its URL, or memory; with retries while it does not answer."""

import errno
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import BaseFileLock
from optuna.storages import BaseStorage

from bilevel_hpo.search._journal import hold_journal, open_journal

__all__ = ["PATIENCE", "Storage", "hold_storage", "open_storage", "patiently", "without_password"]

Storage = str | Path | BaseStorage | None
"""A file for the journal, the URL of a database, an Optuna storage, or None: in memory."""

PATIENCE = 300.0
"""Seconds for which calls are repeated if a storage does not answer."""

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
    """Opens the Optuna storage; None stays None.

    Raises:
        ValueError: the URL cannot be parsed, or the database does not answer; the message has no password.
    """
    if storage is None or isinstance(storage, BaseStorage):
        return storage
    if "://" not in str(storage):
        return open_journal(Path(storage))
    from bilevel_hpo.search._database import open_database, read_url  # noqa: PLC0415  SQLAlchemy takes long to import

    return open_database(read_url(str(storage)))


def hold_storage(storage: Storage) -> BaseFileLock | None:
    """Locks a journal file against other drivers (see `hold_journal`); other storages have no lock."""
    if storage is None or isinstance(storage, BaseStorage) or "://" in str(storage):
        return None
    return hold_journal(Path(storage))


def without_password(storage: str) -> str:
    """Returns a URL without its password, to be shown and written to files; a path is unchanged."""
    if "://" not in storage:
        return storage
    from bilevel_hpo.search._database import read_url  # noqa: PLC0415

    return read_url(storage).set(query={}).render_as_string(hide_password=True)


def patiently(call: Callable[[], _T]) -> _T:
    """Returns the result of `call`, repeated while the storage does not answer, for at most `PATIENCE` seconds.

    Args:
        call: a function that may be executed twice, since an answer can be lost on its way back.
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
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def _is_away(error: BaseException | None) -> bool:
    from bilevel_hpo.search._database import is_connection_lost  # noqa: PLC0415

    while error is not None:
        if is_connection_lost(error) or (isinstance(error, OSError) and error.errno in _AWAY):
            return True
        error = error.__cause__
    return False
