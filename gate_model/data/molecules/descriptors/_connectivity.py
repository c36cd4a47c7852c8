"""Connectivity and shape indices of Hall and Kier over paths of two and three bonds, without walking along each path.

Rev. Comput. Chem. 2 (1991) 367. RDKit adds up χ path by path; here the values may differ in the last digits of float64.
"""

from collections.abc import Sequence

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from gate_model.data.molecules.descriptors._atoms import Atoms

__all__ = ["connectivity"]

_OUTER = [Chem.GetPeriodicTable().GetNOuterElecs(number) for number in range(119)]
Triangles = Sequence[tuple[int, int, int]]


def connectivity(atoms: Atoms, values: dict[str, float]) -> None:
    """χ2 and χ3 from valence electrons (n) and from valences (v); κ1 to κ3 and Φ = κ1 κ2 / A (eqs. 58 to 62)."""
    if atoms.explicit_hydrogens:
        return  # RDKit's paths avoid them
    neighbours: list[list[int]] = [[] for _ in range(len(atoms))]
    for begin, end, _ in atoms.bonds:
        neighbours[begin].append(end)
        neighbours[end].append(begin)
    triangles = _triangles(atoms, neighbours)
    _shapes(atoms, len(triangles), values)
    electrons = [_OUTER[number] - hydrogens for number, hydrogens in zip(atoms.numbers, atoms.hydrogens, strict=True)]
    if min(electrons) < 0:
        return
    valences = [
        0 if number <= 1 else count if number <= 10 else count / (number - _OUTER[number] - 1)
        for number, count in zip(atoms.numbers, electrons, strict=True)
    ]
    for letter, deltas in (("n", electrons), ("v", valences)):
        weights = [delta**-0.5 if delta else 0.0 for delta in deltas]
        values[f"Chi2{letter}"], values[f"Chi3{letter}"] = _chi(atoms, weights, neighbours, triangles)


def _triangles(atoms: Atoms, neighbours: list[list[int]]) -> Triangles:
    if not any(atoms.in_ring):
        return []
    return [
        (begin, end, third)
        for begin, end, _ in atoms.bonds
        if atoms.in_ring[begin] and atoms.in_ring[end]
        for third in neighbours[begin]
        if third > max(begin, end) and third in neighbours[end]
    ]


def _chi(atoms: Atoms, weights: list[float], neighbours: list[list[int]], triangles: Triangles) -> tuple[float, float]:
    """Sums over paths of two and of three bonds of the product of the weights of their atoms.

    A ring of three bonds is one path, in which its atoms count once.
    """
    around = [sum([weights[neighbour] for neighbour in each]) for each in neighbours]
    second = third = 0.0
    for begin, end, _ in atoms.bonds:
        first, last = weights[begin], weights[end]
        before, after = around[begin] - last, around[end] - first
        both = first * last
        second += both * (before + after)
        third += both * before * after
    for a, b, c in triangles:
        product = weights[a] * weights[b] * weights[c]
        third += product - product * (weights[a] + weights[b] + weights[c])
    return second / 2, third


def _shapes(atoms: Atoms, triangles: int, values: dict[str, float]) -> None:
    degrees = atoms.degrees
    of_two = sum([degree * (degree - 1) for degree in degrees]) // 2
    of_three = sum([(degrees[begin] - 1) * (degrees[end] - 1) for begin, end, _ in atoms.bonds]) - 2 * triangles
    alpha = rdMolDescriptors.CalcHallKierAlpha(atoms.molecule)
    kappa1 = rdMolDescriptors.CalcKappa1(atoms.molecule)
    heavy = float(atoms.molecule.GetNumHeavyAtoms())
    below = (of_two + alpha) * (of_two + alpha)
    kappa2 = (heavy + alpha - 1) * (heavy + alpha - 2) * (heavy + alpha - 2) / below if below else 0.0
    below = (of_three + alpha) * (of_three + alpha)
    first = heavy + alpha - (1 if heavy % 2 else 2)
    kappa3 = first * (heavy + alpha - 3) * (heavy + alpha - 3) / below if below else 0.0
    values |= {"HallKierAlpha": alpha, "Kappa1": kappa1, "Kappa2": kappa2, "Kappa3": kappa3}
    values["Phi"] = kappa1 * kappa2 / heavy
