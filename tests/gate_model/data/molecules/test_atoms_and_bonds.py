"""Atoms and bonds against features worked by hand and a literal loop."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rdkit import Chem

from gate_model.data.molecules import atoms_and_bonds as featuriser
from gate_model.data.molecules.atoms_and_bonds import (
    ATOM_FEATURES,
    BOND_FEATURES,
    MoleculeGraphs,
    atom_features,
    bond_features,
    molecule_graphs,
)
from gate_model.data.molecules.graphs import pack
from gate_model.data.table import DataError
from tests.gate_model.molecule_cases import SMILES, literal_atom, literal_bond


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_CACHE", str(tmp_path))


def features_of(smiles: str) -> tuple[NDArray[np.float32], NDArray[np.float32], MoleculeGraphs]:
    graphs = molecule_graphs([smiles])
    return atom_features(graphs.atom_kinds)[graphs.atoms], bond_features(graphs.bond_kinds)[graphs.bonds], graphs


def ones(row: NDArray[np.float32]) -> list[int]:
    return np.flatnonzero(row == 1).tolist()


def test_features_of_acetate_by_hand() -> None:
    atoms, bonds, graphs = features_of("CC(=O)[O-]")
    assert atoms.shape == (4, ATOM_FEATURES) == (4, 72)
    assert bonds.shape == (3, BOND_FEATURES) == (3, 14)
    # Columns: element 0–37, degree 38–44, charge 45–50, chirality 51–55, H 56–61, hybridisation 62–69, aromatic, mass.
    assert ones(atoms[0]) == [5, 38 + 4, 45 + 4, 51, 56 + 3, 62 + 4]
    assert ones(atoms[1]) == [5, 38 + 3, 45 + 4, 51, 56, 62 + 2]
    assert ones(atoms[2]) == [7, 38 + 1, 45 + 4, 51, 56, 62 + 2]
    assert ones(atoms[3]) == [7, 38 + 1, 45 + 0, 51, 56, 62 + 2]
    np.testing.assert_allclose(atoms[:, 71], [0.12011, 0.12011, 0.15999, 0.15999])
    # Columns: none, single, double, triple, aromatic, conjugated, ring, stereo 7–13.
    assert [ones(bond) for bond in bonds] == [[1, 7], [2, 5, 7], [1, 5, 7]]
    assert graphs.ends.tolist() == [[0, 1], [1, 2], [1, 3]]


def test_features_of_unusual_atoms_and_bonds() -> None:
    atoms, bonds, _ = features_of("N->[Cu+2]")
    assert ones(bonds[0])[:1] == [7]  # dative: no column of its own
    assert atoms[1, 28] == 1
    atoms, _, _ = features_of("[Au]")
    assert atoms[0, 37] == 1  # any other element
    assert atoms[0, 71] == pytest.approx(1.96967)
    atoms, bonds, _ = features_of("[2H]OC")
    assert atoms[0, 71] == pytest.approx(0.020141, rel=1e-4)
    left, right = features_of("C[C@H](N)O")[0][1], features_of("C[C@@H](N)O")[0][1]
    assert sorted([ones(left)[3], ones(right)[3]]) == [52, 53]
    assert features_of("F/C=C/F")[1][1, 7:].argmax() != features_of("F/C=C\\F")[1][1, 7:].argmax()


def test_features_equal_the_literal_ones_in_flat_order() -> None:
    graphs = molecule_graphs(SMILES)
    molecules = [Chem.MolFromSmiles(smiles) for smiles in SMILES]
    expected = [literal_atom(atom) for molecule in molecules for atom in molecule.GetAtoms()]
    np.testing.assert_array_equal(atom_features(graphs.atom_kinds)[graphs.atoms], np.array(expected, np.float32))
    expected = [literal_bond(bond) for molecule in molecules for bond in molecule.GetBonds()]
    np.testing.assert_array_equal(bond_features(graphs.bond_kinds)[graphs.bonds], np.array(expected, np.float32))
    assert graphs.n_atoms.tolist() == [molecule.GetNumAtoms() for molecule in molecules]


@pytest.mark.parametrize("bad", ["C1CC", ""])
def test_unreadable_smiles_is_named(bad: str) -> None:
    with pytest.raises(DataError, match=f"molecule 1 of the list: '{bad}' is not"):
        pack(["CCO", bad])


def test_in_parallel_as_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    smiles = [*SMILES, *(("C" * (1 + i % 25)) + ("O" if i % 2 else "N") for i in range(390)), *SMILES]
    serial = molecule_graphs(smiles)
    monkeypatch.setattr(featuriser, "_SERIAL", 0)
    seen: list[tuple[int, int]] = []
    parallel = molecule_graphs(smiles, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(200, 426), (400, 426), (426, 426)]
    for name, expected in vars(serial).items():
        np.testing.assert_array_equal(getattr(parallel, name), expected)
    with pytest.raises(DataError, match="molecule 426 of the list"):
        molecule_graphs([*smiles, "C1"])
