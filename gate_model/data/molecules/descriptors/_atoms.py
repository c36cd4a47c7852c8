"""One look at the atoms and bonds of a molecule, for all descriptors that loop over them."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdPartialCharges

__all__ = ["Atoms"]

Floats = NDArray[np.float64]
_MORGAN = {radius: rdFingerprintGenerator.GetMorganGenerator(radius=radius) for radius in (1, 2, 3)}


class Atoms:
    """A molecule of n atoms and m bonds with what several descriptors read of it."""

    def __init__(self, molecule: Any) -> None:
        self.molecule = molecule
        # by number, which takes a third of the time of RDKit's iterators
        self.atoms = list(map(molecule.GetAtomWithIdx, range(molecule.GetNumAtoms())))
        self.numbers = list(map(Chem.Atom.GetAtomicNum, self.atoms))
        self.degrees = list(map(Chem.Atom.GetDegree, self.atoms))
        self.hydrogens = list(map(Chem.Atom.GetTotalNumHs, self.atoms))
        self.charges = list(map(Chem.Atom.GetFormalCharge, self.atoms))
        self.aromatic = list(map(Chem.Atom.GetIsAromatic, self.atoms))
        self.in_ring = list(map(Chem.Atom.IsInRing, self.atoms))
        self.bond_list = list(map(molecule.GetBondWithIdx, range(molecule.GetNumBonds())))
        self.bonds = list(
            zip(
                map(Chem.Bond.GetBeginAtomIdx, self.bond_list),
                map(Chem.Bond.GetEndAtomIdx, self.bond_list),
                map(Chem.Bond.GetBondTypeAsDouble, self.bond_list),
                strict=True,
            )
        )
        """(begin, end, order): aromatic bonds have order 1.5."""

    def __len__(self) -> int:
        return len(self.atoms)

    @cached_property
    def explicit_hydrogens(self) -> bool:
        """Whether a hydrogen is an atom of the graph."""
        return 1 in self.numbers

    @cached_property
    def kinds(self) -> list[tuple[int, ...]]:
        """Of each atom, all that a SMARTS primitive asks for."""
        in_rings = self.molecule.GetRingInfo().NumAtomRings
        rings = [in_rings(index) if ring else 0 for index, ring in enumerate(self.in_ring)]
        valences = map(Chem.Atom.GetTotalValence, self.atoms)
        isotopes = map(Chem.Atom.GetIsotope, self.atoms)
        columns = self.numbers, self.aromatic, self.degrees, self.hydrogens, self.charges, rings, valences, isotopes
        return list(zip(*columns, strict=True))

    @cached_property
    def bond_kinds(self) -> list[tuple[float, bool]]:
        """Of each bond, its order and whether it is in a ring."""
        rings = map(Chem.Bond.IsInRing, self.bond_list)
        return [(order, ring) for (*_, order), ring in zip(self.bonds, rings, strict=True)]

    @cached_property
    def partial_charges(self) -> list[float] | None:
        """Gasteiger's charges in e; None if the molecule has an element without parameters."""
        try:
            rdPartialCharges.ComputeGasteigerCharges(self.molecule, 12, True)
        except ValueError:
            return None
        return [atom.GetDoubleProp("_GasteigerCharge") for atom in self.atoms]

    @cached_property
    def environments(self) -> dict[int, dict[int, int]]:
        """How often each Morgan environment is found, by its number, for the radii 1, 2 and 3."""
        return {
            radius: generator.GetSparseCountFingerprint(self.molecule).GetNonzeroElements()
            for radius, generator in _MORGAN.items()
        }

    @cached_property
    def bond_steps(self) -> Floats:
        """Bonds on the shortest path between each pair of atoms `[n, n]`; 1e8 between fragments."""
        steps: Floats = Chem.GetDistanceMatrix(self.molecule, useBO=False, useAtomWts=False)
        return steps
