"""Similarity to the training molecules, against RDKit one by one."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.DataStructs import TanimotoSimilarity

from gate_model.data.molecules import similarity
from gate_model.data.molecules.similarity import nearest, packed_fingerprints

SMILES = ["CCO", "c1ccccc1C(=O)O", "CCCCCCN", "CC(C)=O", "[Si](C)(C)(C)C#C"]
TRAINING = ["CCCO", "c1ccccc1", "CCN", "CCO"]


def test_nearest_against_rdkit_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_BLOCK", 2)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    known = [generator.GetFingerprint(Chem.MolFromSmiles(s)) for s in TRAINING]
    expected = np.array(
        [[TanimotoSimilarity(generator.GetFingerprint(Chem.MolFromSmiles(q)), each) for each in known] for q in SMILES]
    )
    found = nearest(packed_fingerprints(SMILES), packed_fingerprints(TRAINING))
    np.testing.assert_array_equal(found.similarity, expected.max(1))
    for row, of_query in zip(found.rows, expected, strict=True):
        np.testing.assert_array_equal(row, np.flatnonzero(of_query == of_query.max()))
    assert found.similarity[0] == 1.0
    assert list(found.rows[0]) == [3]


def test_all_homologues_with_one_fingerprint_are_equally_near() -> None:
    chains = ["C" * n + "O" for n in (4, 9, 12, 15)]
    found = nearest(packed_fingerprints(["CCCCCCCCCCO"]), packed_fingerprints(chains))
    assert (list(found.rows[0]), found.similarity[0]) == ([1, 2, 3], 1.0)


def test_no_query_has_no_neighbour() -> None:
    found = nearest(packed_fingerprints([]), packed_fingerprints(TRAINING))
    assert (len(found.similarity), found.rows) == (0, [])
