"""BCUT descriptors: the extreme eigenvalues of four Burden matrices, in one call.

RDKit takes them from its solver for general matrices; these are symmetric, so the values may differ in the last digits
of float64.
"""

import numpy as np
from rdkit.Chem import rdMolDescriptors

from gate_model.data.molecules.descriptors._atoms import Atoms

__all__ = ["burden"]

_FAR = 0.001
_BONDS = {1.0: 1.0, 1.5: 0.8164965809277261, 2.0: 0.7071067811865475, 3.0: 0.5773502691896258}
"""Matrix elements of bonds, order^(-1/2), by order."""
_NAMES = [f"BCUT2D_{name}" for name in ("MWHI", "MWLOW", "CHGHI", "CHGLO", "LOGPHI", "LOGPLOW", "MRHI", "MRLOW")]


def burden(atoms: Atoms, values: dict[str, float]) -> None:
    """Mass, partial charge, logP and refractivity on the diagonal, bonds beside it."""
    if atoms.explicit_hydrogens or any(order not in _BONDS for *_, order in atoms.bonds):
        return
    if atoms.partial_charges is None:
        values |= dict.fromkeys(_NAMES, 0.0)
        return
    matrix = np.full((len(atoms), len(atoms)), _FAR)
    for begin, end, order in atoms.bonds:
        matrix[begin, end] = matrix[end, begin] = _BONDS[order]
    stack = np.repeat(matrix[None], 4, axis=0)
    crippen = rdMolDescriptors._CalcCrippenContribs(atoms.molecule)
    diagonals = np.empty((4, len(atoms)))
    diagonals[0] = [atom.GetMass() for atom in atoms.atoms]
    diagonals[1] = atoms.partial_charges
    diagonals[2:] = np.transpose(crippen)
    each = np.arange(len(atoms))
    stack[:, each, each] = diagonals
    eigenvalues = np.linalg.eigvalsh(stack)
    values |= dict(zip(_NAMES, eigenvalues[:, [-1, 0]].reshape(-1).tolist(), strict=True))
