from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate_model.data import cache
from gate_model.data.molecules.features import FeatureScaler, features
from gate_model.data.molecules.smiles import organic, scaffold
from gate_model.data.prepared import Standardizer
from gate_model.data.splits import scaffold_split
from gate_model.data.table import DataError, PropertyTable

RNG = np.random.default_rng(0)


def test_cache_key_depends_on_every_part() -> None:
    assert cache.key_of("a", 1) != cache.key_of("a", 2)


@pytest.mark.parametrize(
    ("smiles", "kept"), [("CCO", True), ("O", False), ("[Na+].CC(=O)[O-]", False), ("C[CH2]", False)]
)
def test_organic(smiles: str, kept: bool) -> None:
    assert (organic(smiles) is not None) == kept


def test_organic_refuses_isotopes_charges_and_metals() -> None:
    assert organic("[2H]C") is None
    assert organic("C[NH3+]") is None
    assert organic("C[Hg]C") is None


def test_split_keeps_scaffolds_together(dsbp_table: PropertyTable) -> None:
    table = dsbp_table.with_at_least(3)
    split = scaffold_split(table.smiles, table.labels, seed=1)
    parts = [split.train, split.validation, split.selection, split.test]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(table.smiles)))
    of = [{scaffold(table.smiles[row]) for row in part} - {""} for part in parts]
    assert not any(of[i] & of[j] for i in range(4) for j in range(i))
    assert len(split.train) / len(table.smiles) == pytest.approx(0.7, abs=0.03)
    again = scaffold_split(table.smiles, table.labels, seed=1)
    other = scaffold_split(table.smiles, table.labels, seed=2)
    np.testing.assert_array_equal(split.test, again.test)
    assert not np.array_equal(split.test, other.test)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(40, 120))
def test_every_part_has_every_task(seed: int, n: int) -> None:
    smiles = ["C" * (i + 1) for i in range(n)]
    labels = np.full((n, 2), np.nan)
    labels[:, 0] = 1.0
    labels[RNG.permutation(n)[:12], 1] = 1.0
    split = scaffold_split(smiles, labels, seed=seed)
    assert all(np.isfinite(labels[part]).any(0).all() for part in vars(split).values())


def test_a_task_that_cannot_be_split_is_refused() -> None:
    labels = np.full((40, 2), np.nan)
    labels[:, 0] = 1.0
    labels[:3, 1] = 1.0
    with pytest.raises(DataError, match="task 2 of 2 has 3 labels"):
        scaffold_split(["C" * (i + 1) for i in range(40)], labels, seed=0)


def test_standardizer_uses_the_labels_it_is_given_and_inverts() -> None:
    labels = RNG.normal(5, 3, (50, 3))
    labels[::4, 1] = np.nan
    scale = Standardizer.fit(labels)
    z = scale.transform(labels)
    np.testing.assert_allclose(np.nanmean(z, 0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nanstd(z, 0), 1, atol=1e-12)
    np.testing.assert_allclose(Standardizer.from_dict(scale.to_dict()).inverse(z), labels)


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


def test_feature_scaler_learns_from_its_rows_only() -> None:
    raw = RNG.normal(3, 2, (100, 600)).astype(np.float32)
    scaler = FeatureScaler.fit(raw[:50])
    scaled = scaler.transform(raw[:50])
    np.testing.assert_allclose(scaled[:, 512:].mean(0), 0, atol=0.05)
    np.testing.assert_array_equal(scaled[:, :512], np.clip(raw[:50, :512], -5, 5))
