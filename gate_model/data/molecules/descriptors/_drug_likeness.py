"""QED, which is made of other descriptors, of counts of acceptors and of 116 alerts.

Bickerton et al., Nature Chemistry 4 (2012) 90.
"""

import math
from collections.abc import Callable
from typing import Any

from rdkit.Chem import QED, rdMolDescriptors

from gate_model.data.molecules.descriptors._atoms import Atoms

__all__ = ["drug_likeness"]


def drug_likeness(atoms: Atoms, values: dict[str, float], *, acceptors: int, alerts: int) -> None:
    """From the descriptors that are there already; those of its parts that are missing are added to them.

    Args:
        atoms: without hydrogens among them, which QED takes away first.
        acceptors: matches of `QED.Acceptors`.
        alerts: how many of `QED.StructuralAlerts` are found.
    """
    molecule = atoms.molecule
    for name, compute in _PARTS.items():
        if name not in values:
            values[name] = float(compute(molecule))
    properties = (
        values["MolWt"],
        values["MolLogP"],
        acceptors,
        values["NumHDonors"],
        values["TPSA"],
        values["NumRotatableBonds"],
        _aromatic_rings(atoms),
        alerts,
    )
    total = sum(
        weight * math.log(_desirability(value, parameters))
        for weight, value, parameters in zip(QED.WEIGHT_MEAN, properties, _PARAMETERS, strict=True)
    )
    values["qed"] = math.exp(total / sum(QED.WEIGHT_MEAN))


def _desirability(x: float, p: Any) -> float:
    """From 0 to 1: an asymmetric double sigmoid, as `QED.ads`."""
    rise = 1 + math.exp(-1 * (x - p.C + p.D / 2) / p.E)
    fall = 1 + math.exp(-1 * (x - p.C - p.D / 2) / p.F)
    return float((p.A + p.B / rise * (1 - 1 / fall)) / p.DMAX)


_PARAMETERS = [QED.adsParameters[name] for name in QED.QEDproperties._fields]
_PARTS: dict[str, Callable[[Any], float]] = {
    "MolWt": rdMolDescriptors._CalcMolWt,
    "NumHDonors": rdMolDescriptors.CalcNumHBD,
    "TPSA": rdMolDescriptors.CalcTPSA,
    "NumRotatableBonds": rdMolDescriptors.CalcNumRotatableBonds,
}


def _aromatic_rings(atoms: Atoms) -> int:
    """Rings that remain without the aliphatic ring atoms that have a single bond to an atom that is not aromatic.

    That is their cyclomatic number: bonds - atoms + connected parts.
    """
    if not any(atoms.in_ring):
        return 0
    aliphatic = [ring and not aromatic for ring, aromatic in zip(atoms.in_ring, atoms.aromatic, strict=True)]
    gone = set()
    for begin, end, order in atoms.bonds:
        if order == 1:
            for atom, neighbour in ((begin, end), (end, begin)):
                if aliphatic[atom] and not atoms.aromatic[neighbour]:
                    gone.add(atom)
    part = list(range(len(atoms)))

    def root(atom: int) -> int:
        while part[atom] != atom:
            atom = part[atom]
        return atom

    rings = 0
    for begin, end, _ in atoms.bonds:
        if begin not in gone and end not in gone:
            first, second = root(begin), root(end)
            rings += first == second
            part[first] = second
    return rings
