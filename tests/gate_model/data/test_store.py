"""A store gives back what was kept or nothing, whatever happens to its file, and stays within its size."""

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gate_model.data.store import Store, size_limit

LIMIT = 10**9


def store(folder: Path, *, version: str = "1", limit: int = LIMIT) -> Store:
    return Store(folder / "store.sqlite", version, limit)


def noise(seed: int, size: int = 700) -> bytes:
    """Bytes that do not become smaller when they are packed."""
    return random.Random(seed).randbytes(size)


def block(number: int) -> dict[str, bytes]:
    """Ten entries, 7 kB."""
    return {f"{number}.{each}": noise(100 * number + each) for each in range(10)}


def test_what_was_kept_is_found_by_its_version_only(tmp_path: Path) -> None:
    contents = {f"C{n}": noise(n) for n in range(1200)} | {"": b"", "é": b"\0"}
    store(tmp_path).put(contents)
    assert store(tmp_path).get([*contents, "other"]) == contents
    assert store(tmp_path, version="2").get(list(contents)) == {}
    store(tmp_path).put({"C1": b"new"})
    assert store(tmp_path).get(["C1", "C2"]) == {"C1": b"new", "C2": contents["C2"]}


def test_a_flipped_byte_or_a_content_of_another_key_is_not_found(tmp_path: Path) -> None:
    store(tmp_path).put({"a": noise(1), "b": noise(2), "c": noise(3), "d": noise(4)})
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        rows = connection.execute("SELECT rowid, content FROM entries ORDER BY rowid").fetchall()
        flipped = bytearray(rows[0][1])
        flipped[500] ^= 1
        for row, content in ((0, bytes(flipped)), (1, rows[2][1]), (2, "text")):
            connection.execute("UPDATE entries SET content = ? WHERE rowid = ?", [content, rows[row][0]])
        connection.commit()
    assert store(tmp_path).get(["a", "b", "c", "d"]) == {"d": noise(4)}


@pytest.mark.parametrize("damage", ["text", "cut", "header", "pages"])
def test_a_damaged_file_gives_nothing_wrong_and_is_made_anew(tmp_path: Path, damage: str) -> None:
    contents = {f"{n}": noise(n) for n in range(100)}
    store(tmp_path).put(contents)
    path = tmp_path / "store.sqlite"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "text": b"no database " * 1000,
            "cut": whole[: len(whole) // 2],
            "header": b"\0" * 100 + whole[100:],
            "pages": whole[:4096] + noise(0, len(whole) - 4096),
        }[damage]
    )
    found = store(tmp_path).get(list(contents))
    assert found.items() <= contents.items()
    assert len(found) < 100
    store(tmp_path).put(contents)
    store(tmp_path).put(contents)
    assert store(tmp_path).get(list(contents)) == contents


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    small = store(tmp_path, limit=70_000)
    for number in range(5):
        small.put(block(number))
    assert small.get(list(block(0))) == block(0)  # 1 is now the oldest
    for number in range(5, 9):
        small.put(block(number))
    assert small.get(list(block(0))) == block(0)
    assert small.get(list(block(8))) == block(8)
    assert small.get([*block(1), *block(2)]) == {}
    assert (tmp_path / "store.sqlite").stat().st_size <= 70_000


def test_other_versions_go_first_however_new_they_are(tmp_path: Path) -> None:
    ours, other = store(tmp_path, limit=70_000), store(tmp_path, version="2", limit=70_000)
    ours.put(block(0))
    for number in range(1, 5):
        other.put(block(number))
    for number in range(5, 8):
        ours.put(block(number))
    assert ours.get([*block(0), *block(5), *block(6), *block(7)]) == block(0) | block(5) | block(6) | block(7)
    assert other.get(list(block(1))) == {}


def test_a_limit_below_one_entry_keeps_nothing_and_is_no_error(tmp_path: Path) -> None:
    for limit in (0, 100):
        tiny = store(tmp_path, limit=limit)
        tiny.put(block(0))
        assert tiny.get(list(block(0))) == {}


def test_the_limit_is_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATE_CACHE_SIZE", raising=False)
    assert size_limit() == 10**9
    monkeypatch.setenv("GATE_CACHE_SIZE", "5000000")
    assert size_limit() == 5_000_000
    for wrong in ("1GB", "-1", "1e9"):
        monkeypatch.setenv("GATE_CACHE_SIZE", wrong)
        with pytest.raises(ValueError, match=f"GATE_CACHE_SIZE is '{wrong}', it must be a whole number of bytes"):
            size_limit()


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    nowhere = store(tmp_path / "file")
    nowhere.put(block(0))
    assert nowhere.get(list(block(0))) == {}


def test_a_read_only_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path).put(block(0))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    store(tmp_path).put(block(1))
    assert store(tmp_path).get([*block(0), *block(1)]) == block(0)
    assert [file.name for file in tmp_path.iterdir()] == ["store.sqlite"]


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError("no links")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    store(tmp_path).put(block(0))
    assert store(tmp_path).get(list(block(0))) == block(0)


WRITER = """
import sys
from pathlib import Path
from tests.gate_model.data.test_store import block, store

for number in range(int(sys.argv[1]), 60, 2):
    store(Path(sys.argv[2])).put(block(number) | block(1000))
    assert store(Path(sys.argv[2])).get(list(block(number))) == block(number)
"""


def test_three_processes_write_and_read_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER]
    root = Path(__file__).parents[3]
    writers = [subprocess.Popen([*command, start, str(tmp_path)], cwd=root) for start in ("0", "1", "0")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    contents = {key: content for number in [*range(60), 1000] for key, content in block(number).items()}
    assert store(tmp_path).get(list(contents)) == contents
    assert not list(tmp_path.glob("*.tmp"))
