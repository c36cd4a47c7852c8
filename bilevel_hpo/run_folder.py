"""Read and write the files of a run folder: atomic writes, and no unpickling."""

import json
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import pandas as pd
from filelock import FileLock, Timeout

__all__ = [
    "RunError",
    "differences",
    "locked",
    "open_folder",
    "read_json",
    "replacing",
    "versions",
    "write_csv",
    "write_json",
]


_ABSENT = object()
_LOCK = ".lock"


class RunError(ValueError):
    """Raised for a run folder that cannot be used; the message names the file and what it must be."""


def open_folder(folder: Path, config: dict[str, Any], *, resume: bool) -> None:
    """Prepares `folder` for a run with `config`, and writes `config.json`.

    An existing run is continued only with `resume`, and only if its configuration is the same.
    """
    path = folder / "config.json"
    if path.exists():
        before, now = read_json(path), json.loads(json.dumps(config))
        if not resume:
            raise RunError(f"{folder} holds a run already; add --resume to continue it, or choose another --out")
        different = "; ".join(differences("", before, now))
        if different:
            raise RunError(
                f"{path}: --resume needs the same configuration, but {different}. Choose another --out for a new run"
            )
        return
    if folder.exists() and any(path.name != _LOCK for path in folder.iterdir()):
        raise RunError(f"{folder} is not empty and holds no run (no config.json); choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, config)


def differences(name: str, before: Any, now: Any) -> Iterator[str]:
    """Lists the differences of two JSON contents, such as `settings.lr was 0.1, now 0.2`."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from differences(f"{name}.{key}" if name else key, before.get(key, _ABSENT), now.get(key, _ABSENT))
    elif before != now:
        was, is_now = ("absent" if value is _ABSENT else repr(value) for value in (before, now))
        yield f"{name or 'it'} was {was}, now {is_now}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks `folder` (made if missing) for this process; if the process dies, the system releases the lock.

    Raises:
        RunError: another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder}: another process is working in this folder") from None
    try:
        yield
    finally:
        lock.release()


def write_json(path: Path, content: Any) -> None:
    """Writes indented JSON, replacing the file atomically."""
    with replacing(path) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def read_json(path: Path) -> Any:
    """Returns the content; raises RunError naming the file if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: is {path.parent} a run folder?") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Writes floats in full precision, replacing the file atomically."""
    with replacing(path) as file:
        file.write(frame.to_csv(index=False).encode())


@contextmanager
def replacing(path: Path, *, keep: Path | None = None) -> Iterator[IO[bytes]]:
    """Opens a file that is renamed to `path` when the block ends without an error and its content is on disk.

    Until then an existing file at `path` stays unchanged.

    Args:
        path: the name of the file; its folder is made if missing.
        keep: where to move the old file at `path`; by default it is deleted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if keep is not None and path.exists():
        path.replace(keep)
    temporary.replace(path)


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Returns the versions that a result depends on: the engine, its dependencies, `packages` and Python."""
    named = dict.fromkeys(("bilevel-hpo", "torch", "higher", "optuna", "numpy", *packages))
    return {package: version(package) for package in named} | {"python": platform.python_version()}
