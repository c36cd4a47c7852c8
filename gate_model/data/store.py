"""Small results of long computations, in one SQLite file that any number of processes read and write at once.

Each entry is kept with a checksum of its key and content, so that a damaged one is not found instead of wrong. A file
that cannot be read or written is no error: nothing is found in it, and nothing kept.
"""

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

__all__ = ["Store", "size_limit"]

_DEFAULT_LIMIT = 1_000_000_000
_PATIENCE = 30.0
"""Seconds that a process waits while another one writes."""
_AT_ONCE = 500
_ROOM = 0.9
"""Share of the limit that is left after old entries were removed."""
_CHECK = 8
"""Bytes of a checksum."""
_TABLES = """
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS blocks (id INTEGER PRIMARY KEY, version TEXT NOT NULL, used INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, block INTEGER NOT NULL, content BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_block ON entries (block);
"""


def size_limit() -> int:
    """`$GATE_CACHE_SIZE` in bytes, or 1 GB. 0 keeps nothing.

    Raises:
        ValueError: it is not a whole number, or negative.
    """
    text = os.environ.get("GATE_CACHE_SIZE", "").strip() or str(_DEFAULT_LIMIT)
    if not text.isdecimal():
        raise ValueError(f"GATE_CACHE_SIZE is {text!r}, it must be a whole number of bytes, 0 or more")
    return int(text)


class Store:
    """Bytes by text, for one version of what computes them.

    Args:
        path: the file; it is made, with its folder, when something is kept.
        version: entries of other versions are not found, and are the first to be removed.
        limit: bytes that the file may have.
    """

    def __init__(self, path: Path, version: str, limit: int) -> None:
        self.path, self.version, self.limit = path, version, limit

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The contents that are there and undamaged; they count as used."""
        found: dict[str, bytes] = {}
        if not self.path.exists():
            return found
        blocks: set[int] = set()
        with self._tolerant(), closing(self._open()) as connection:
            for start in range(0, len(keys), _AT_ONCE):
                by_digest = {self._digest(key): key for key in keys[start : start + _AT_ONCE]}
                marks = ",".join("?" * len(by_digest))
                query = f"SELECT key, block, content FROM entries WHERE key IN ({marks})"
                for digest, block, packed in connection.execute(query, list(by_digest)):
                    key = by_digest[digest]
                    if (content := self._unpacked(key, packed)) is not None:
                        found[key] = content
                        blocks.add(block)
            newest = "SELECT coalesce(max(used), 0) FROM blocks"
            ((tick,),) = connection.execute(newest).fetchall()
            touched = [[tick + 1, block, tick] for block in sorted(blocks)]
            connection.execute("BEGIN")
            connection.executemany("UPDATE blocks SET used = ? WHERE id = ? AND used < ?", touched)
            connection.execute("COMMIT")
        return found

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Keep contents. Where the file becomes too large, what was not used for longest goes."""
        if not (contents and self.limit):
            return
        rows = [(self._digest(key), self._packed(key, content)) for key, content in contents.items()]
        with self._tolerant():
            if not self.path.exists():
                self._create()
            with closing(self._open()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                add = "INSERT INTO blocks (version, used) SELECT ?, coalesce(max(used), 0) + 1 FROM blocks"
                block = connection.execute(add, [self.version]).lastrowid
                keep = "INSERT OR REPLACE INTO entries (key, block, content) VALUES (?, ?, ?)"
                connection.executemany(keep, [(digest, block, packed) for digest, packed in rows])
                self._shrink(connection)
                connection.execute("COMMIT")
                connection.execute("PRAGMA incremental_vacuum").fetchall()

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Remove whole blocks: those of other versions first, then those that were not used for longest."""
        if _size(connection) <= self.limit:
            return
        oldest = "SELECT id FROM blocks ORDER BY version = ?, used, id"
        for (block,) in connection.execute(oldest, [self.version]).fetchall():
            if _size(connection) <= self.limit * _ROOM:
                return
            connection.execute("DELETE FROM entries WHERE block = ?", [block])
            connection.execute("DELETE FROM blocks WHERE id = ?", [block])

    def _open(self) -> sqlite3.Connection:
        how = "mode=rw" if os.access(self.path.parent, os.W_OK) else "immutable=1"
        address = f"{self.path.absolute().as_uri()}?{how}"
        connection = sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _create(self) -> None:
        """Make the file beside its place, so that no process sees half of it, and the first of several counts."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            with closing(sqlite3.connect(temporary)) as connection:
                connection.executescript(_TABLES)
            try:
                self.path.hardlink_to(temporary)
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                temporary.rename(self.path)
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """End the block early where the file cannot be used; one that is damaged is removed."""
        try:
            yield
        except (OSError, sqlite3.OperationalError):
            pass
        except sqlite3.DatabaseError:
            for ending in ("", "-wal", "-shm"):
                with suppress(OSError):
                    self.path.with_name(self.path.name + ending).unlink(missing_ok=True)

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(f"{self.version}\n{key}".encode(), digest_size=16).digest()

    def _check(self, key: str, content: bytes) -> bytes:
        return hashlib.blake2b(content, key=self._digest(key), digest_size=_CHECK).digest()

    def _packed(self, key: str, content: bytes) -> bytes:
        return self._check(key, content) + zlib.compress(content)

    def _unpacked(self, key: str, packed: object) -> bytes | None:
        if not isinstance(packed, bytes):
            return None
        try:
            content = zlib.decompress(packed[_CHECK:])
        except zlib.error:
            return None
        return content if self._check(key, content) == packed[:_CHECK] else None


def _size(connection: sqlite3.Connection) -> int:
    """Bytes in use."""
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size
