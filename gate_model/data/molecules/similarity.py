"""How much a molecule looks like those a model was trained on."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

__all__ = ["BITS", "UNLIKE", "nearest", "packed_fingerprints"]

BITS = 2048
UNLIKE = 0.3
"""Below this similarity a molecule is flagged; docs/results/uncertainty.json says why."""

Packed = NDArray[np.uint8]


def packed_fingerprints(smiles: Sequence[str]) -> Packed:
    """Morgan fingerprints of radius 2, 2048 bits, eight to a byte: `[N, 256]` for N readable SMILES."""
    rows = [np.packbits(_generator().GetFingerprintAsNumPy(Chem.MolFromSmiles(s))) for s in smiles]
    return np.stack(rows) if rows else np.zeros((0, BITS // 8), np.uint8)


def nearest(queries: Packed, training: Packed) -> NDArray[np.float64]:
    """Tanimoto similarity of every query `[n, 256]` to the training molecule `[N, 256]` most like it: `[n]`, 0 to 1."""
    known = [_bits(row) for row in training]
    return np.array([max(DataStructs.BulkTanimotoSimilarity(_bits(row), known)) for row in queries], np.float64)


@cache
def _generator() -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)


def _bits(packed: Packed) -> Any:
    vector = DataStructs.ExplicitBitVect(BITS)
    vector.SetBitsFromList(np.flatnonzero(np.unpackbits(packed)).tolist())
    return vector
