"""Features of molecules, computed, cached and scaled."""

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import gate_model.data.molecules.features as module
from gate_model.data.molecules.features import FeatureScaler, compute_features, features

RNG = np.random.default_rng(0)


def test_features_are_the_same_in_parallel_and_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_CACHE", str(tmp_path))
    smiles = [("C" * (1 + i % 25)) + ("O" if i % 2 else "N") for i in range(510)]
    seen: list[tuple[int, int]] = []
    parallel = features(smiles, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (510, 510)
    serial = np.concatenate([features(smiles[:255]), features(smiles[255:])])
    np.testing.assert_array_equal(parallel, serial)
    np.testing.assert_array_equal(features(smiles), parallel)
    assert parallel.dtype == np.float32
    assert np.isfinite(parallel).all()


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty cache; the molecules that are computed, in one process."""
    monkeypatch.setenv("GATE_CACHE", str(tmp_path))
    done: list[str] = []
    chunk = module._chunk

    def compute(smiles: Sequence[str]) -> module.Array:
        done.extend(smiles)
        return chunk(smiles)

    monkeypatch.setattr(module, "_chunk", compute)
    return done


def chains(*numbers: int) -> list[str]:
    """A different molecule for each number from 0 to 999."""
    return ["C" * (1 + n // 100) + "O" + "C" * (1 + n // 10 % 10) + "N" + "C" * (1 + n % 10) for n in numbers]


def test_a_second_table_costs_its_new_molecules_only(counted: list[str]) -> None:
    first = features(chains(*range(1, 30)))
    assert sorted(counted) == sorted(chains(*range(1, 30)))
    counted.clear()
    seen: list[tuple[int, int]] = []
    second = features(chains(40, 3, 41, 2, 3), progress=lambda done, total: seen.append((done, total)))
    assert sorted(counted) == sorted(chains(40, 41))
    assert seen[-1] == (5, 5)
    np.testing.assert_array_equal(second[[1, 3, 4]], first[[2, 1, 2]])
    np.testing.assert_array_equal(second, compute_features(chains(40, 3, 41, 2, 3)))
    counted.clear()
    np.testing.assert_array_equal(features(chains(41, *range(1, 30)))[1:], first)
    assert counted == []
    assert features([]).shape == first[:0].shape == compute_features([]).shape


def test_what_another_process_computes_meanwhile_is_not_computed_again(
    counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    smiles = chains(*range(1, 301))  # two chunks
    compute, calls = module._chunk, []

    def other_process_first(part: Sequence[str]) -> module.Array:
        calls.append(len(part))
        if len(calls) == 1:
            features(smiles)
        return compute(part)

    monkeypatch.setattr(module, "_chunk", other_process_first)
    result = features(smiles)
    assert len(counted) == 300 + calls[0]  # all of them by the other, and the chunk that was begun
    np.testing.assert_array_equal(result, compute_features(smiles))


def test_a_molecule_that_is_damaged_in_the_store_is_computed_again(counted: list[str], tmp_path: Path) -> None:
    smiles = chains(*range(1, 20))
    first = features(smiles)
    with closing(sqlite3.connect(tmp_path / "features.sqlite")) as connection:
        row, content = connection.execute("SELECT rowid, content FROM entries LIMIT 1").fetchone()
        damaged = content[:40] + bytes([content[40] ^ 4]) + content[41:]
        connection.execute("UPDATE entries SET content = ? WHERE rowid = ?", [damaged, row])
        connection.commit()
    counted.clear()
    np.testing.assert_array_equal(features(smiles), first)
    assert len(counted) == 1
    (tmp_path / "features.sqlite").write_bytes(b"no database")
    np.testing.assert_array_equal(features(smiles), first)
    np.testing.assert_array_equal(features(smiles), first)
    assert len(counted) == 1 + len(smiles)


def test_other_versions_and_kinds_are_computed_anew(counted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    features(chains(1, 2))
    monkeypatch.setattr(module, "version", lambda name: "1999.03.1")
    features(chains(1, 2))
    assert len(counted) == 4


def test_files_of_whole_tables_are_removed(counted: list[str], tmp_path: Path) -> None:
    (tmp_path / "features-0123456789abcdef0123.npy").write_bytes(b"of an earlier version")
    (tmp_path / "graphs-0123.npz").write_bytes(b"of something else")
    features(chains(1))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["features.sqlite", "graphs-0123.npz"]


def test_a_wrong_size_of_the_cache_is_an_error_before_the_work(
    counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_CACHE_SIZE", "1 GB")
    with pytest.raises(ValueError, match="GATE_CACHE_SIZE is '1 GB'"):
        features(chains(1))
    assert counted == []


TOGETHER = """
import sys
from gate_model.data.molecules.features import features

features([f"{'C' * a}N{'C' * b}" for a in range(1, 21) for b in range(1, 21)])
"""


def test_two_cold_starts_at_once_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_CACHE", str(tmp_path))
    smiles = [f"{'C' * a}N{'C' * b}" for a in range(1, 21) for b in range(1, 21)]
    starts = [subprocess.Popen([sys.executable, "-c", TOGETHER]) for _ in range(2)]
    assert [start.wait() for start in starts] == [0, 0]
    monkeypatch.setattr(module, "_chunk", None)  # all of it must be in the store
    stored = features(smiles)
    monkeypatch.undo()
    np.testing.assert_array_equal(stored, compute_features(smiles))


def test_feature_scaler_learns_from_its_rows_only() -> None:
    raw = RNG.normal(3, 2, (100, 600)).astype(np.float32)
    scaler = FeatureScaler.fit(raw[:50])
    scaled = scaler.transform(raw[:50])
    np.testing.assert_allclose(scaled[:, 512:].mean(0), 0, atol=0.05)
    np.testing.assert_array_equal(scaled[:, :512], np.clip(raw[:50, :512], -5, 5))
