"""Molecules that are unlike each other, and a small network that reads their graphs."""

import torch
from rdkit import Chem

from gate_model.model.message_passing import DirectedMPNN

# Rings and chains, charges, isotopes, stereo, a dative bond, metals, salts, single atoms, explicit hydrogen.
SMILES = [
    "CCO",
    "C",
    "[Na+].[Cl-]",
    "c1ccccc1",
    "C[C@H](N)C(=O)O",
    "C[C@@H](N)C(=O)O",
    "F/C=C/F",
    "F/C=C\\F",
    "O=[N+]([O-])c1ccc2[nH]ccc2c1",
    "CN(=O)=O",
    "[2H]OC",
    "[H][H]",
    "FS(F)(F)(F)(F)F",
    "C#CC12CC3CC(CC(C3)C1)C2",
    "N->[Cu+2]",
    "*CC",
    "CC(C)(C)c1cc(O)c(Br)cc1I",
    "CCO",
]


def network(seed: int = 0, **settings: int | float) -> DirectedMPNN:
    """In float64."""
    torch.manual_seed(seed)
    return DirectedMPNN(**{"d": 5, "hidden": 11, **settings}).double()  # type: ignore[arg-type]


def literal_atom(atom: Chem.Atom) -> list[float]:
    """The features one by one, by Table 1 of Yang et al. and the elements of chemprop's v2."""
    hybridisations = [getattr(Chem.HybridizationType, n) for n in ("S", "SP", "SP2", "SP2D", "SP3", "SP3D", "SP3D2")]
    row: list[float] = []
    for value, choices in (
        (atom.GetAtomicNum(), [*range(1, 37), 53]),
        (atom.GetTotalDegree(), list(range(6))),
        (atom.GetFormalCharge(), [-1, -2, 1, 2, 0]),
        (int(atom.GetChiralTag()), list(range(4))),
        (atom.GetTotalNumHs(), list(range(5))),
        (atom.GetHybridization(), hybridisations),
    ):
        row += [float(value == choice) for choice in choices] + [float(value not in choices)]
    return [*row, float(atom.GetIsAromatic()), 0.01 * atom.GetMass()]


def literal_bond(bond: Chem.Bond) -> list[float]:
    types = [Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC]
    row = [0.0, *(float(bond.GetBondType() == kind) for kind in types)]
    stereo = int(bond.GetStereo())
    row += [float(bond.GetIsConjugated()), float(bond.IsInRing())]
    return row + [float(stereo == choice) for choice in range(6)] + [float(stereo > 5)]
