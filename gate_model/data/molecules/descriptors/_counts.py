"""Electrons and the connectivity indices of orders 0 and 1, which need the degrees alone."""

import numpy as np
from rdkit import Chem

from gate_model.data.molecules.descriptors._atoms import Atoms
from gate_model.data.molecules.descriptors._sums import running_sum

__all__ = ["counts"]

_OUTER = [Chem.GetPeriodicTable().GetNOuterElecs(number) for number in range(119)]

_ACCEPTING = {7, 8, 16}
"""Elements that RDKit counts as acceptors of hydrogen bonds."""


def counts(atoms: Atoms, values: dict[str, float]) -> None:
    """Valence and radical electrons, χ0 = Σ d^(-1/2) and χ1 = Σ (d d')^(-1/2) over atoms and bonds."""
    outer = sum(_OUTER[number] for number in atoms.numbers)
    values["NumValenceElectrons"] = float(outer - sum(atoms.charges) + sum(atoms.hydrogens))
    values["NumRadicalElectrons"] = float(sum(atom.GetNumRadicalElectrons() for atom in atoms.atoms))
    if not any(number in _ACCEPTING for number in atoms.numbers):
        values["NumHAcceptors"] = 0.0
    if not _can_turn(atoms):
        values["NumRotatableBonds"] = 0.0
    degrees = atoms.degrees
    values["Chi0"] = _inverse_roots([degree for degree in degrees if degree])
    values["Chi1"] = _inverse_roots([degrees[begin] * degrees[end] for begin, end, _ in atoms.bonds])


def _can_turn(atoms: Atoms) -> bool:
    """Whether RDKit's pattern can match: a single bond in no ring, between atoms that have other neighbours."""
    return any(
        order < 2 and not ring and atoms.degrees[begin] > 1 < atoms.degrees[end]
        for (begin, end, _), (order, ring) in zip(atoms.bonds, atoms.bond_kinds, strict=True)
    )


def _inverse_roots(numbers: list[int]) -> float:
    return running_sum(np.sqrt(1.0 / np.array(numbers, dtype=float)))
