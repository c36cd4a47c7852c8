"""Fingerprints and descriptors of molecules: what the quick embedding reads."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from gate_model.data import cache
from gate_model.data.molecules.descriptors import NAMES, Atoms, descriptors
from gate_model.data.molecules.parallel import in_chunks
from gate_model.data.store import Store, size_limit

__all__ = ["MORGAN_BITS", "FeatureScaler", "compute_features", "features"]

MORGAN_BITS = 512
FEATURES = MORGAN_BITS + len(NAMES)
_FORMAT = 2
_SERIAL = 500
_LIMIT = 5.0

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]


def features(smiles: Sequence[str], *, progress: Progress | None = None) -> Array:
    """`compute_features`, but molecules that were seen before are read from a store on disk.

    The store is `features.sqlite` in the cache folder, by SMILES, RDKit version and kind of features. Other processes
    may read and write it meanwhile: what another one has computed by then is not computed again.

    Raises:
        ValueError: `$GATE_CACHE_SIZE`, the largest size of the store in bytes, is not a whole number.
    """
    folder = cache.cache_folder()
    _remove_files_by_table(folder)
    store = Store(folder / "features.sqlite", cache.key_of(_FORMAT, version("rdkit"), MORGAN_BITS, NAMES), size_limit())
    result = np.empty((len(smiles), FEATURES), np.float32)
    missing = _fill(result, smiles, store.get(list(dict.fromkeys(smiles))))
    known = len(smiles) - len(missing)
    if not missing:
        if progress:
            progress(known, len(smiles))
        return result
    Random().shuffle(missing)  # two processes that start at once begin with different molecules

    def show(done: int, _: int) -> None:
        if progress:
            progress(known + done, len(smiles))

    parts = in_chunks(partial(_looked_up, store), [smiles[row] for row in missing], serial_below=_SERIAL, progress=show)
    done = 0
    for part in parts:
        result[missing[done : done + len(part)]] = part
        done += len(part)
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
    return np.concatenate(parts) if parts else np.zeros((0, FEATURES), np.float32)


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


def _chunk(smiles: Sequence[str]) -> Array:
    counts = np.zeros((len(smiles), MORGAN_BITS))
    values = np.empty((len(smiles), len(NAMES)))
    for row, structure in enumerate(smiles):
        atoms = Atoms(Chem.MolFromSmiles(structure))
        for environment, count in atoms.environments[2].items():
            counts[row, environment % MORGAN_BITS] += count
        values[row] = descriptors(atoms)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return np.concatenate([np.log1p(counts), np.sign(values) * np.log1p(np.abs(values))], axis=1).astype(np.float32)


def _looked_up(store: Store, smiles: Sequence[str]) -> Array:
    """Features of a chunk; what is not in the store even now is computed and kept there."""
    result = np.empty((len(smiles), FEATURES), np.float32)
    missing = _fill(result, smiles, store.get(list(dict.fromkeys(smiles))))
    if missing:
        result[missing] = _chunk([smiles[row] for row in missing])
        store.put({smiles[row]: result[row].astype("<f4").tobytes() for row in missing})
    return result


def _fill(result: Array, smiles: Sequence[str], known: dict[str, bytes]) -> list[int]:
    """Write the rows that are known; returns the others."""
    missing = []
    for row, structure in enumerate(smiles):
        if structure in known:
            result[row] = np.frombuffer(known[structure], "<f4")
        else:
            missing.append(row)
    return missing


def _remove_files_by_table(folder: Path) -> None:
    """Earlier versions kept a file of 93 MB for each table of molecules."""
    for file in folder.glob("features-*.npy"):
        with suppress(OSError):
            file.unlink()
