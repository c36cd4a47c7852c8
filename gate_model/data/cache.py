"""A cache of files that can be made again.

The name of a file contains a hash of everything that decides its content. A checksum is compared when a file is read,
and a file is written completely or not at all.
"""

import hashlib
import json
import os
from pathlib import Path

import platformdirs

__all__ = ["cache_folder", "key_of", "read", "write"]


def cache_folder() -> Path:
    """Return the folder of the cache: `$GATE_CACHE` if it is set, otherwise the user's cache folder."""
    return Path(os.environ.get("GATE_CACHE") or platformdirs.user_cache_dir("gate-model"))


def key_of(*parts: object) -> str:
    """Return a short hash of these parts, which must be everything that decides the content."""
    return hashlib.sha256(json.dumps(parts, default=repr).encode()).hexdigest()[:20]


def read(name: str) -> bytes | None:
    """Return the content of a file; None if there is no such file, or if it was changed after it was written."""
    try:
        digest, _, content = (cache_folder() / name).read_bytes().partition(b"\n")
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest().encode() == digest else None


def write(name: str, content: bytes) -> None:
    """Store the content with its checksum. It is not an error if the cache cannot be written."""
    path = cache_folder() / name
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
