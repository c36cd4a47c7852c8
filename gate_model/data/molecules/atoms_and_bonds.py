"""Atoms and bonds of many molecules in flat arrays, with the features of Yang et al. 2019 as chemprop 2 has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import Atom, Bond, BondType, HybridizationType

from gate_model.data.molecules.parallel import in_chunks
from gate_model.data.table import DataError

__all__ = ["ATOM_FEATURES", "BOND_FEATURES", "MoleculeGraphs", "atom_features", "bond_features", "molecule_graphs"]

_SERIAL = 50_000  # some 5 s of work; a new process has torch and pandas to import

# The values that have a column of their own; a last column stands for any other value.
_ATOM_CHOICES: tuple[tuple[int, ...], ...] = (
    (*range(1, 37), 53),  # atomic number
    tuple(range(6)),  # bonds, those to hydrogens too
    (-1, -2, 1, 2, 0),  # formal charge
    tuple(range(4)),  # chiral tag
    tuple(range(5)),  # hydrogens
    tuple(int(getattr(HybridizationType, name)) for name in ("S", "SP", "SP2", "SP2D", "SP3", "SP3D", "SP3D2")),
)
_BOND_TYPES = tuple(int(kind) for kind in (BondType.SINGLE, BondType.DOUBLE, BondType.TRIPLE, BondType.AROMATIC))
_STEREO = tuple(range(6))
_SPECIAL = frozenset("[/\\|")

ATOM_FEATURES = sum(len(choices) + 1 for choices in _ATOM_CHOICES) + 2
"""Width of an atom's features, 72: six one-hot groups, aromaticity, 0.01 · mass in dalton."""
BOND_FEATURES = 1 + len(_BOND_TYPES) + 2 + len(_STEREO) + 1
"""Width of a bond's features, 14: an unused first column, the type, conjugation, in a ring, stereo."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MoleculeGraphs:
    """N molecules with A atoms and M bonds; few atoms differ in their features, so each kind is kept once.

    Atoms and bonds stand in RDKit's order, molecule after molecule.
    """

    atom_kinds: NDArray[np.float64]
    """`[V, 8]`: atomic number, bonds, charge, chiral tag, hydrogens, hybridisation, aromatic, mass in dalton."""
    bond_kinds: NDArray[np.float64]
    """`[R, 4]`: type, conjugated, in a ring, stereo."""
    atoms: Integers
    """Kind of every atom, `[A]`."""
    bonds: Integers
    """Kind of every bond, `[M]`."""
    ends: Integers
    """The two atoms of every bond, `[M, 2]`, counted over all molecules."""
    n_atoms: Integers
    """Atoms per molecule, `[N]`."""


def molecule_graphs(smiles: Sequence[str], *, progress: Callable[[int, int], None] | None = None) -> MoleculeGraphs:
    """The graphs of N molecules, hydrogens implicit; on all cores where that is quicker.

    Args:
        smiles: N SMILES.
        progress: called with (molecules done, N).

    Raises:
        DataError: RDKit cannot read a SMILES, or it has no atom.
    """
    parts = in_chunks(_chunk, list(enumerate(smiles)), serial_below=_SERIAL, progress=progress)
    for part in parts:
        if isinstance(part, str):
            raise DataError(part)
    read = [_NOTHING, *(part for part in parts if isinstance(part, _Part))]
    starts = np.cumsum([0, *(len(part.atoms) for part in read)])
    ends = np.concatenate([part.ends + start for part, start in zip(read, starts, strict=False)])
    keys, atoms = _merge([part.atom_keys for part in read], [part.atoms for part in read])
    bond_kinds, bonds = _merge([part.bond_keys for part in read], [part.bonds for part in read])
    degree = np.bincount(ends.reshape(-1), minlength=len(atoms))
    atom_kinds, atoms = _with_degree_and_mass(keys, atoms, degree)
    return MoleculeGraphs(atom_kinds, bond_kinds, atoms, bonds, ends, np.concatenate([part.n_atoms for part in read]))


def atom_features(kinds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Features `[V, 72]` of atom kinds `[V, 8]`."""
    groups = [_one_hot(kinds[:, i], choices, other=True) for i, choices in enumerate(_ATOM_CHOICES)]
    return np.concatenate([*groups, kinds[:, 6:7], 0.01 * kinds[:, 7:]], axis=1).astype(np.float32)


def bond_features(kinds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Features `[R, 14]` of bond kinds `[R, 4]`; a bond of another type than those four has none of the four."""
    groups = [
        np.zeros((len(kinds), 1)),
        _one_hot(kinds[:, 0], _BOND_TYPES, other=False),
        kinds[:, 1:3],
        _one_hot(kinds[:, 3], _STEREO, other=True),
    ]
    return np.concatenate(groups, axis=1).astype(np.float32)


def _one_hot(values: NDArray[np.float64], choices: Sequence[int], *, other: bool) -> NDArray[np.float64]:
    hits = values[:, None] == np.array(choices)
    return np.concatenate([hits, ~hits.any(1, keepdims=True)] if other else [hits], axis=1).astype(np.float64)


class _Part(NamedTuple):
    """Some molecules as RDKit tells them; atoms are counted from the first of them."""

    atom_keys: NDArray[np.float64]
    """`[v, 7]`: atomic number, charge, chiral tag, hydrogens, hybridisation, aromatic, isotope."""
    bond_keys: NDArray[np.float64]
    """`[r, 4]`, as `MoleculeGraphs.bond_kinds`."""
    atoms: Integers
    bonds: Integers
    ends: Integers
    n_atoms: Integers


def _integers(*shape: int) -> Integers:
    return np.zeros(shape, np.int64)


_NOTHING = _Part(np.zeros((0, 7)), np.zeros((0, 4)), _integers(0), _integers(0), _integers(0, 2), _integers(0))


def _merge(keys: list[NDArray[np.float64]], members: list[Integers]) -> tuple[NDArray[np.float64], Integers]:
    """One sorted list of keys out of the parts' lists, and every member's place in it."""
    starts = np.cumsum([0, *map(len, keys)])
    merged, place = np.unique(np.concatenate(keys), axis=0, return_inverse=True)
    return merged, place.reshape(-1)[np.concatenate([m + s for m, s in zip(members, starts, strict=False)])]


def _with_degree_and_mass(
    keys: NDArray[np.float64], atoms: Integers, neighbours: Integers
) -> tuple[NDArray[np.float64], Integers]:
    """Kinds `[V, 8]`, and the kind of every atom, from keys `[v, 7]`, the key and the explicit bonds of every atom."""
    degree = neighbours + keys[atoms, 3].astype(np.int64)
    base = int(degree.max(initial=0)) + 1
    codes, kinds_of_atoms = np.unique(atoms * base + degree, return_inverse=True)
    key = keys[codes // base]
    mass = np.array([_mass(int(number), int(isotope)) for number, isotope in key[:, [0, 6]]])
    return np.column_stack([key[:, 0], codes % base, key[:, 1:6], mass]), kinds_of_atoms


def _mass(number: int, isotope: int) -> float:
    atom = Atom(number)
    atom.SetIsotope(isotope)
    return float(atom.GetMass())


def _chunk(molecules: list[tuple[int, str]]) -> _Part | str:
    """The graphs of some molecules, each with its place in the list; what is wrong if one cannot be read."""
    atom_keys: dict[tuple[Any, ...], int] = {}
    bond_keys: dict[tuple[Any, ...], int] = {}
    atoms: list[int] = []
    bonds: list[int] = []
    begins: list[int] = []
    ends: list[int] = []
    n_atoms: list[int] = []
    for place, smiles in molecules:
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or not molecule.GetNumAtoms():
            return f"molecule {place} of the list: {smiles!r} is not a SMILES of a molecule that RDKit can read"
        start, n = len(atoms), molecule.GetNumAtoms()
        own_atoms = [*map(molecule.GetAtomWithIdx, range(n))]
        own_bonds = [*map(molecule.GetBondWithIdx, range(molecule.GetNumBonds()))]
        # A SMILES without these signs has no isotope, chirality or stereo, which take long to ask for.
        plain = _SPECIAL.isdisjoint(smiles)
        for key in zip(
            map(Atom.GetAtomicNum, own_atoms),
            map(Atom.GetFormalCharge, own_atoms),
            repeat(0, n) if plain else map(Atom.GetChiralTag, own_atoms),
            map(Atom.GetTotalNumHs, own_atoms),
            map(Atom.GetHybridization, own_atoms),
            map(Atom.GetIsAromatic, own_atoms),
            repeat(0, n) if plain else map(Atom.GetIsotope, own_atoms),
            strict=True,
        ):
            atoms.append(atom_keys.setdefault(key, len(atom_keys)))
        for key in zip(
            map(Bond.GetBondType, own_bonds),
            map(Bond.GetIsConjugated, own_bonds),
            map(Bond.IsInRing, own_bonds),
            repeat(0, len(own_bonds)) if plain else map(Bond.GetStereo, own_bonds),
            strict=True,
        ):
            bonds.append(bond_keys.setdefault(key, len(bond_keys)))
        begins += [start + i for i in map(Bond.GetBeginAtomIdx, own_bonds)]
        ends += [start + i for i in map(Bond.GetEndAtomIdx, own_bonds)]
        n_atoms.append(n)
    return _Part(
        np.array([[int(value) for value in key] for key in atom_keys], np.float64).reshape(-1, 7),
        np.array([[int(value) for value in key] for key in bond_keys], np.float64).reshape(-1, 4),
        np.array(atoms, np.int64),
        np.array(bonds, np.int64),
        np.array([begins, ends], np.int64).T,
        np.array(n_atoms, np.int64),
    )
