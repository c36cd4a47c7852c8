"""The descriptors that share their work are RDKit's own."""

from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import QED, Descriptors, Fragments

from gate_model.data.molecules.descriptors import NAMES, Atoms, descriptors
from gate_model.data.molecules.descriptors._all import _GROUPS, FAILURES, _computes
from gate_model.data.molecules.descriptors._possible import Patterns
from gate_model.data.table import PropertyTable
from tests.gate_model.molecule_cases import SMILES

# Hydrogens as atoms, hydroxide beside water, elements without charges or with unusual bonds, cumulenes in rings, cages,
# three-membered rings with and without substituents, aromatic rings beside aliphatic ones, nested fragments.
ODD = [
    "[2H]N([2H])[2H]",
    "[2H]c1c([2H])c2c(c([2H])c1[2H])C([2H])([2H])CC2",
    "[Co+3].[OH-].[OH-].[OH-]",
    "O",
    "[OH-]",
    "[OH3+]",
    "C[OH2+]",
    "[H+]",
    "[HH]",
    "[He]",
    "c1ccc2c(c1)[se]c1ccsc12",
    "C[Si](C)(C)O[SiH2]O",
    "CP(=O)(O)O",
    "C[P@](=O)(O)c1ccccc1",
    "[CH3]",
    "[13CH4]",
    "C1=C=CCCCC1",
    "C1CC1",
    "CN1CC1",
    "CC1(C)C2CC12",
    "C12C3C4C1C5C2C3C45",
    "C1CC2CCC1C2",
    "c1ccc2c(c1)CCc1ccccc1-2",
    "O=C1C=CC(=O)c2ccccc21",
    "OC(=O)c1ccccc1OC(C)=O",
    "C/C=C/C(O)CC=C",
    "CC(C)=NO",
    "N#CCO",
    "OO",
    "CC(=O)OOC(C)=O",
    "C=C=O",
    "CN(C)CCc1c[nH]c2ccc(O)cc12",
    "CCN(CC)C(=O)[C@H]1CN(C)[C@@H]2Cc3c[nH]c4cccc(c34)C2=C1",
    "COc1cc2c(cc1OC)C(=O)C(CC1CCN(Cc3ccccc3)CC1)C2",
    "CC(C)CCCC(C)C1CCC2C3CC=C4CC(O)CCC4(C)C3CCC12C",
    "Nc1ccc(S(N)(=O)=O)cc1",
    "CCOP(=S)(OCC)Oc1ccc([N+](=O)[O-])cc1",
    "[N-]=[N+]=NCc1ccccc1",
    "O=C1NC(=O)C(c2ccccc2)(c2ccccc2)N1",
    "F[B-](F)(F)F.[Na+]",
]


def plain(molecule: Any) -> list[float]:
    """RDKit's functions one by one."""
    values = []
    for _, function in Descriptors.descList:
        try:
            values.append(float(function(molecule)))
        except FAILURES:
            values.append(0.0)
    return values


def differing(smiles: list[str]) -> set[str]:
    """Descriptors that differ in float32 after sign(v)·log(1 + |v|), as they are used."""
    values = np.array(
        [[plain(Chem.MolFromSmiles(each)), descriptors(Atoms(Chem.MolFromSmiles(each)))] for each in smiles]
    )
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    used = (np.sign(values) * np.log1p(np.abs(values))).astype(np.float32)
    return {NAMES[column] for column in np.flatnonzero((used[:, 0] != used[:, 1]).any(0))}


def test_all_shared_work_is_used_with_this_rdkit() -> None:
    assert len(_computes()) == len(_GROUPS)


def test_odd_molecules_have_the_descriptors_of_rdkit() -> None:
    assert differing([*SMILES, *ODD]) == set()


def test_molecules_of_the_table_have_the_descriptors_of_rdkit(chemicals_table: PropertyTable) -> None:
    assert differing(list(chemicals_table.smiles)[::160]) == set()


def test_definitions_of_another_rdkit_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = [(name, _twice if name == "BertzCT" else function) for name, function in Descriptors.descList]
    monkeypatch.setattr(Descriptors, "descList", changed)
    _computes.cache_clear()
    try:
        assert len(_computes()) == len(_GROUPS) - 1
        value = descriptors(Atoms(Chem.MolFromSmiles("CCO")))[NAMES.index("BertzCT")]
    finally:
        monkeypatch.undo()
        _computes.cache_clear()
    assert value == 2.0


def _twice(_: Any) -> float:
    return 2.0


def test_no_pattern_that_a_molecule_holds_is_left_out(chemicals_table: PropertyTable) -> None:
    smarts = [*QED.StructuralAlerts, *(function.__defaults__[1] for _, function in Fragments.fns)]
    patterns = Patterns(smarts)
    tried = 0
    for smiles in [*ODD[2:], *list(chemicals_table.smiles)[::160]]:
        molecule = Chem.MolFromSmiles(smiles)
        possible = set(patterns.possible(Atoms(molecule)))
        assert {number for number, each in enumerate(smarts) if molecule.HasSubstructMatch(each)} <= possible
        tried += len(possible)
    assert tried < 0.15 * len(smarts) * len(ODD[2:] + list(chemicals_table.smiles)[::160])
