"""Files that can be made again: keyed by what made them, checked when read, written whole or not at all."""

import hashlib
import json
import os
from pathlib import Path

import platformdirs

__all__ = ["cache_folder", "key_of", "read", "write"]


def cache_folder() -> Path:
    """`$GATE_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("GATE_CACHE") or platformdirs.user_cache_dir("gate-model"))


def key_of(*parts: object) -> str:
    """A short hash of everything that decides the content."""
    return hashlib.sha256(json.dumps(parts, default=repr).encode()).hexdigest()[:20]


def read(name: str) -> bytes | None:
    """The content; None if it is not there, or not what was written."""
    try:
        digest, _, content = (cache_folder() / name).read_bytes().partition(b"\n")
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest().encode() == digest else None


def write(name: str, content: bytes) -> None:
    """Keep the content with its checksum; a cache that cannot be written is no error."""
    path = cache_folder() / name
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
