"""A study in a database, by its URL. A separate module because SQLAlchemy is slow to import and rarely needed."""

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

__all__ = ["is_connection_lost", "open_database", "read_url"]


def read_url(text: str) -> URL:
    """Returns the URL of a database; raises ValueError, without the password, if it cannot be parsed."""
    try:
        url = make_url(text)
    except (exc.ArgumentError, ValueError):
        raise ValueError(
            f"storage must be a URL, postgresql://USER:PASSWORD@HOST:5432/NAME; got {text.partition('://')[0]}://… "
            "(characters such as @ and / in a password are written %40 and %2F)"
        ) from None
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url


def open_database(url: URL) -> RDBStorage:
    """Returns Optuna's storage in a database; raises ValueError, without the password, if it does not answer."""
    text = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    try:
        return RDBStorage(text, engine_kwargs={"pool_pre_ping": True})
    except ImportError as error:
        raise ImportError(
            f"no driver for {url.drivername} is installed; for PostgreSQL: pip install 'bilevel-hpo[postgresql]'"
        ) from error
    except (exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ValueError(f"storage {url.set(query={}).render_as_string()}: {reason}") from error


def is_connection_lost(error: BaseException) -> bool:
    """Whether the database did not answer, as opposed to refusing."""
    if isinstance(error, exc.OperationalError | exc.InterfaceError):
        return True
    return isinstance(error, exc.DBAPIError) and error.connection_invalidated
