"""LogP and molar refractivity by Wildman and Crippen, J. Chem. Inf. Comput. Sci. 39 (1999) 868.

RDKit makes hydrogens atoms of the graph and types all of them, although what a hydrogen adds depends only on the atom
that it is bound to and, on oxygen, on the next atom. Here one hydrogen of each surrounding is typed, once.
"""

from typing import Any

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from gate_model.data.molecules.descriptors._atoms import Atoms
from gate_model.data.molecules.descriptors._sums import running_total

__all__ = ["crippen"]

Surrounding = tuple[Any, ...]
_hydrogens: dict[Surrounding, tuple[float, float]] = {}
"""(logP, MR) of a hydrogen in each surrounding met so far."""


def crippen(atoms: Atoms, values: dict[str, float]) -> None:
    """Sums over the atoms of the graph, then over the hydrogens of each."""
    if atoms.explicit_hydrogens:
        return  # their own kind depends on hydrogens that are not in the graph
    contributions = list(rdMolDescriptors._CalcCrippenContribs(atoms.molecule))
    for index, hydrogens in enumerate(atoms.hydrogens):
        if hydrogens:
            surrounding = _surrounding(atoms, index)
            if surrounding not in _hydrogens:
                _hydrogens[surrounding] = _typed(atoms, index)
            contributions += [_hydrogens[surrounding]] * hydrogens
    values["MolLogP"] = running_total(log_p for log_p, _ in contributions)
    values["MolMR"] = running_total(refractivity for _, refractivity in contributions)


def _surrounding(atoms: Atoms, index: int) -> Surrounding:
    number = atoms.numbers[index]
    if number != 8:
        return (number,)
    neighbours = []
    for next_atom in atoms.atoms[index].GetNeighbors():
        double = [
            (bond.GetOtherAtom(next_atom).GetAtomicNum(), bond.GetOtherAtom(next_atom).GetIsAromatic())
            for bond in next_atom.GetBonds()
            if bond.GetBondTypeAsDouble() == 2
        ]
        kind = next_atom.GetAtomicNum(), next_atom.GetIsAromatic(), next_atom.GetTotalDegree()
        neighbours.append((*kind, tuple(sorted(double))))
    return (number, atoms.hydrogens[index], *sorted(neighbours))


def _typed(atoms: Atoms, index: int) -> tuple[float, float]:
    whole = Chem.AddHs(atoms.molecule)
    typed = rdMolDescriptors._CalcCrippenContribs(whole)
    added = [atom.GetIdx() for atom in whole.GetAtomWithIdx(index).GetNeighbors() if atom.GetIdx() >= len(atoms)]
    log_p, refractivity = typed[added[0]]
    return log_p, refractivity
