"""Descriptors of the matrix of distances: E-state indices, Ipc, Balaban's J, Bertz' complexity."""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.EState.EState_VSA import estateBins, vsaBins
from rdkit.ML.InfoTheory.rdInfoTheory import InfoEntropy

from gate_model.data.molecules.descriptors._atoms import Atoms
from gate_model.data.molecules.descriptors._sums import running_sum

__all__ = ["bertz", "distances", "estate"]

Floats = NDArray[np.float64]
_OUTER = [Chem.GetPeriodicTable().GetNOuterElecs(number) for number in range(119)]
_SHELL = [4.0 / (1 + bisect_left([2, 10, 18, 36, 54, 86], number)) ** 2 for number in range(119)]
"""4 / N², N the principal quantum number."""
_CUTOFF = 100
"""Atoms are alike for Bertz when their nearest so many distances are."""


def estate(atoms: Atoms, values: dict[str, float]) -> None:
    """E-state indices: each atom's state, and what it gains from the others, I_i + Σ_j (I_i - I_j) / r_ij²."""
    intrinsic = np.array(
        [
            (_SHELL[number] * (_OUTER[number] - hydrogens) + 1) / degree if degree else 0.0
            for number, hydrogens, degree in zip(atoms.numbers, atoms.hydrogens, atoms.degrees, strict=True)
        ]
    )
    r = atoms.bond_steps + 1
    gains = np.where(r < 1e6, (intrinsic[:, None] - intrinsic) / (r * r), 0.0)
    indices = np.add.accumulate(gains, axis=1)[:, -1] + intrinsic
    sizes = np.abs(indices)
    values |= {"MaxEStateIndex": float(indices.max()), "MinEStateIndex": float(indices.min())}
    values |= {"MaxAbsEStateIndex": float(sizes.max()), "MinAbsEStateIndex": float(sizes.min())}
    areas = rdMolDescriptors._CalcLabuteASAContribs(atoms.molecule, True)[0]
    surface = [areas[atom] for atom in range(len(atoms))]
    states = indices.tolist()
    _binned(values, "EState_VSA", estateBins, by=states, of=surface)
    _binned(values, "VSA_EState", vsaBins, by=surface, of=states)


def _binned(
    values: dict[str, float], name: str, bins: list[float], *, by: Sequence[float], of: Sequence[float]
) -> None:
    sums = [0.0] * (len(bins) + 1)
    for key, value in zip(by, of, strict=True):
        sums[bisect_right(bins, key)] += value
    values |= {f"{name}{number}": value for number, value in enumerate(sums, 1)}


def distances(atoms: Atoms, values: dict[str, float]) -> None:
    """Information content of the characteristic polynomial (Ipc, AvgIpc), and J from sums of distances."""
    adjacent = atoms.bond_steps == 1
    coefficients = np.abs(_characteristic_polynomial(adjacent.astype(float)))
    information = InfoEntropy(coefficients)
    values |= {"AvgIpc": float(information), "Ipc": running_sum(coefficients) * float(information)}

    far = np.add.accumulate(_by_bond_order(atoms), axis=0)[-1]
    first, second = np.nonzero(np.triu(adjacent))
    total = running_sum(1.0 / np.sqrt(far[first] * far[second]))
    bonds = len(atoms.bonds)
    rings = bonds - len(atoms) + 1
    values["BalabanJ"] = float(bonds) / float(rings + 1) * total if rings + 1 else 0.0


def _characteristic_polynomial(adjacency: Floats) -> Floats:
    """By Le Verrier, Faddeev and Frame, in the steps of RDKit's `CharacteristicPolynomial`."""
    n = len(adjacency)
    result = np.empty(n + 1)
    result[0] = 1.0
    power, other = adjacency.copy(), np.empty_like(adjacency)
    diagonal, other_diagonal = power.reshape(-1)[:: n + 1], other.reshape(-1)[:: n + 1]
    for k in range(1, n + 1):
        coefficient = 1.0 / k * np.add.reduce(diagonal)
        result[k] = -coefficient
        diagonal -= coefficient
        np.dot(adjacency, power, out=other)
        power, other, diagonal, other_diagonal = other, power, other_diagonal, diagonal
    return result


def _by_bond_order(atoms: Atoms) -> Floats:
    """Distances `[n, n]` where a bond of order b has length 1 / b."""
    matrix: Floats = Chem.GetDistanceMatrix(atoms.molecule, useBO=True, useAtomWts=False, force=False, prefix="Balaban")
    return matrix


def bertz(atoms: Atoms, values: dict[str, float]) -> None:
    """Bertz' complexity: the information in the kinds of atoms and in the kinds of pairs of bonds that meet.

    S. H. Bertz, J. Am. Chem. Soc. 103 (1981) 3599.
    """
    if len(atoms) < 2:
        values["BertzCT"] = 0.0
        return
    neighbours: list[list[tuple[int, float]]] = [[] for _ in range(len(atoms))]
    for begin, end, order in atoms.bonds:
        neighbours[begin].append((end, order))
        neighbours[end].append((begin, order))
    classes = _symmetry_classes(_by_bond_order(atoms))
    connections: dict[tuple[int, ...], float] = {}
    for atom, around in enumerate(neighbours):
        around.sort()
        hinge = classes[atom]
        kinds = [(classes[neighbour], order) for neighbour, order in around]
        for i, (kind, order) in enumerate(kinds):
            if order > 1 and around[i][0] > atom:
                key: tuple[int, ...] = (hinge, kind) if hinge < kind else (kind, hinge)
                connections[key] = connections.get(key, 0) + order * (order - 1) / 2
            for other, other_order in kinds[i + 1 :]:
                key = (kind, hinge, other) if kind < other else (other, hinge, kind)
                connections[key] = connections.get(key, 0) + order * other_order
    numbers = np.array(list(connections.values()) or [1], dtype=float)
    elements = np.array(list(Counter(atoms.numbers).values()), dtype=float)
    total = float(numbers.sum())
    information = total * (InfoEntropy(numbers) + math.log(total) / math.log(2))
    values["BertzCT"] = float(len(atoms) * InfoEntropy(elements) + information)


def _symmetry_classes(matrix: Floats) -> list[int]:
    """Numbers of the classes of atoms whose sorted distances agree to four decimals."""
    rows = np.rint(np.sort(matrix, axis=1)[:, :_CUTOFF] * 1e4)
    seen: dict[bytes, int] = {}
    return [seen.setdefault(row.tobytes(), len(seen)) + 1 for row in rows]
