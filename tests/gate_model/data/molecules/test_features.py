"""Features of molecules, computed, cached and scaled."""

from pathlib import Path

import numpy as np
import pytest

from gate_model.data.molecules.features import FeatureScaler, features

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


def test_feature_scaler_learns_from_its_rows_only() -> None:
    raw = RNG.normal(3, 2, (100, 600)).astype(np.float32)
    scaler = FeatureScaler.fit(raw[:50])
    scaled = scaler.transform(raw[:50])
    np.testing.assert_allclose(scaled[:, 512:].mean(0), 0, atol=0.05)
    np.testing.assert_array_equal(scaled[:, :512], np.clip(raw[:50, :512], -5, 5))
