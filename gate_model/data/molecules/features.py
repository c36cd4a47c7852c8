"""Fingerprints and descriptors of molecules: what the quick embedding reads."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache as remember
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import Descriptors, rdFingerprintGenerator

from gate_model.data import cache
from gate_model.data.molecules.parallel import in_chunks

__all__ = ["MORGAN_BITS", "FeatureScaler", "compute_features", "features"]

MORGAN_BITS = 512
_FORMAT = 1
_SERIAL = 500
_LIMIT = 5.0

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]


def features(smiles: Sequence[str], *, progress: Progress | None = None) -> Array:
    """`compute_features`, cached on disk by the molecules and the RDKit version."""
    digest = hashlib.sha256("\n".join(smiles).encode()).hexdigest()
    file = f"features-{cache.key_of(_FORMAT, version('rdkit'), MORGAN_BITS, digest)}.npy"
    kept = cache.read(file)
    if kept is not None:
        if progress:
            progress(len(smiles), len(smiles))
        stored: Array = np.load(io.BytesIO(kept), allow_pickle=False)
        return stored
    result = compute_features(smiles, progress=progress)
    buffer = io.BytesIO()
    np.save(buffer, result)
    cache.write(file, buffer.getvalue())
    return result


def compute_features(smiles: Sequence[str], *, progress: Progress | None = None) -> Array:
    """Features `[N, F]`, float32: log(1 + count) of Morgan environments of radius 2 folded to 512, then all RDKit 2-D
    descriptors as sign(v)·log(1 + |v|), 0 where RDKit gives none.

    Computed on all cores.

    Args:
        smiles: N readable SMILES.
        progress: called with (molecules done, N).
    """
    parts = in_chunks(_chunk, smiles, serial_below=_SERIAL, progress=progress)
    return np.concatenate(parts) if parts else np.zeros((0, MORGAN_BITS + len(Descriptors.descList)), np.float32)


@dataclass(frozen=True, eq=False)
class FeatureScaler:
    """Descriptors to zero mean and unit variance over the training molecules, clipped to ±5; counts stay."""

    mean: Array
    std: Array

    @classmethod
    def fit(cls, raw: Array) -> "FeatureScaler":
        """From the features of the training molecules `[N, F]`."""
        mean, std = raw.mean(0), raw.std(0)
        mean[:MORGAN_BITS], std[:MORGAN_BITS] = 0, 1
        return cls(mean, np.where(std > 1e-6, std, 1).astype(np.float32))

    def transform(self, raw: Array) -> Array:
        """Scaled features `[N, F]`."""
        return np.asarray(np.clip((raw - self.mean) / self.std, -_LIMIT, _LIMIT), dtype=np.float32)

    def to_dict(self) -> dict[str, Array]:
        """The arrays by name."""
        return {"mean": self.mean, "std": self.std}

    @classmethod
    def from_dict(cls, arrays: dict[str, Array]) -> "FeatureScaler":
        """Inverse of `to_dict`."""
        return cls(arrays["mean"], arrays["std"])


@remember
def _generator() -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=MORGAN_BITS)


def _chunk(smiles: list[str]) -> Array:
    return np.stack([_one(Chem.MolFromSmiles(structure)) for structure in smiles])


def _one(molecule: Any) -> Array:
    counts = _generator().GetCountFingerprintAsNumPy(molecule)
    values = np.array([_descriptor(compute, molecule) for _, compute in Descriptors.descList])
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return np.concatenate([np.log1p(counts), np.sign(values) * np.log1p(np.abs(values))]).astype(np.float32)


def _descriptor(compute: Callable[[Any], float], molecule: Any) -> float:
    try:
        return float(compute(molecule))
    except (ValueError, ZeroDivisionError, RuntimeError, OverflowError):
        return 0.0
