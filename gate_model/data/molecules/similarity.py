"""How much a molecule looks like those a model was trained on."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from scipy import sparse

__all__ = ["BITS", "UNLIKE", "Nearest", "nearest", "packed_fingerprints"]

BITS = 2048
UNLIKE = 0.3
"""Below this similarity a molecule is flagged; docs/results/uncertainty.json says why."""

_BLOCK = 128
"""Queries at a time: memory is 12 bytes per query and training molecule."""

Packed = NDArray[np.uint8]


class Nearest(NamedTuple):
    """For each of n queries, the training molecules most like it."""

    similarity: NDArray[np.float64]
    """Tanimoto, 0 to 1, `[n]`."""
    rows: list[NDArray[np.int64]]
    """All training molecules of that similarity, n lists of at least one: homologues share one fingerprint."""


def packed_fingerprints(smiles: Sequence[str]) -> Packed:
    """Morgan fingerprints of radius 2, 2048 bits, eight to a byte: `[N, 256]` for N readable SMILES."""
    rows = [np.packbits(_generator().GetFingerprintAsNumPy(Chem.MolFromSmiles(s))) for s in smiles]
    return np.stack(rows) if rows else np.zeros((0, BITS // 8), np.uint8)


def nearest(queries: Packed, training: Packed) -> Nearest:
    """The most similar of N ≥ 1 training molecules `[N, 256]` for every query `[n, 256]`.

    The common bits are counted by a sparse product: about 2 % of the bits are set.
    """
    known = _bits(training).T.tocsr()
    n_known = known.sum(0)
    similarity, rows = np.zeros(len(queries)), []
    for start in range(0, len(queries), _BLOCK):
        block = slice(start, start + _BLOCK)
        bits = _bits(queries[block])
        common = (bits @ known).toarray()
        tanimoto = common / (bits.sum(1)[:, None] + n_known - common)
        similarity[block] = highest = tanimoto.max(1)
        rows += [np.flatnonzero(of_query == most) for of_query, most in zip(tanimoto, highest, strict=True)]
    return Nearest(similarity, rows)


@cache
def _generator() -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)


def _bits(packed: Packed) -> Any:
    """Sparse, `[n, 2048]`."""
    return sparse.csr_array(np.unpackbits(packed, axis=1).astype(np.int32))
