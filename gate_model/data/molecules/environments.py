"""Which atoms and bonds of many molecules look alike up to a given distance, so that each sight is computed once.

In a directed message-passing network the state of the directed bond v→w after t steps depends on no more than the
tree that reaches t bonds from v away from w. On organic molecules few of these trees differ: they are numbered here,
exactly (by the refinement of Weisfeiler and Leman), and the network computes each number once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate_model.data.molecules.atoms_and_bonds import MoleculeGraphs

__all__ = ["Environments", "Level", "environments"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Level:
    """n distinct environments, each with the environments of the level below that it is made of."""

    kinds: Integers
    """What stands at the root, `[n]`."""
    offsets: Integers
    """Where the children of each begin, `[n + 1]`."""
    children: Integers
    """Numbers in the level below, sorted within each environment, `[offsets[n]]`."""


@dataclass(frozen=True, eq=False)
class Environments:
    """N molecules as lists of environments."""

    bonds: Integers
    """Directed bonds as they are seen at first: kinds of their first atom and of the bond, `[n, 2]`."""
    levels: tuple[Level, ...]
    """Directed bonds v→w after 1, 2, … steps. Kind: place in `bonds`. Children: the bonds u→v, u ≠ w, a step before."""
    atoms: Level
    """Atoms. Kind: the atom's. Children: the bonds that lead to it, in the last of `levels`."""
    molecules: Level
    """Molecules. Kind: the number of atoms. Children: the atoms."""


def environments(graphs: MoleculeGraphs, depth: int) -> Environments:
    """The environments of directed bonds up to `depth` - 1 steps, of atoms and of molecules."""
    begins, ends = graphs.ends.T
    # Bond i gives the directed bonds 2i and 2i + 1, each the other's reverse.
    source, target = np.stack([begins, ends], 1).reshape(-1), np.stack([ends, begins], 1).reshape(-1)
    n_bond_kinds = max(len(graphs.bond_kinds), 1)
    codes, number = np.unique(graphs.atoms[source] * n_bond_kinds + np.repeat(graphs.bonds, 2), return_inverse=True)
    first = number

    by_target = np.argsort(target, kind="stable")
    arriving = np.bincount(target, minlength=len(graphs.atoms))
    parent, place = _expand((np.cumsum(arriving) - arriving)[source], arriving[source])
    child = by_target[place]
    onward = child != (parent ^ 1)
    parent, child = parent[onward], child[onward]

    levels = []
    for _ in range(1, depth):
        level, number = _number(first, parent, number[child])
        levels.append(level)
    atoms, number = _number(graphs.atoms, target[by_target], number[by_target])
    molecule = np.repeat(np.arange(len(graphs.n_atoms)), graphs.n_atoms)
    order = np.lexsort((number, molecule))
    offsets = np.concatenate([[0], np.cumsum(graphs.n_atoms)])
    molecules = Level(graphs.n_atoms, offsets, number[order])
    return Environments(np.stack(np.divmod(codes, n_bond_kinds), 1), tuple(levels), atoms, molecules)


def _expand(starts: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """Owner and place of every member where owner i has the places starts[i], …, starts[i] + counts[i] - 1."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(starts, counts)


def _number(kinds: Integers, parent: Integers, child: Integers) -> tuple[Level, Integers]:
    """Distinct (kind, multiset of children), and the number of each of the n given ones.

    Args:
        kinds: `[n]`.
        parent: whose child it is, ascending, `[c]`.
        child: numbers in the level below, `[c]`.
    """
    counts = np.bincount(parent, minlength=len(kinds))
    table = np.full((len(kinds), 1 + int(counts.max(initial=0))), -1)
    _, slot = _expand(np.zeros_like(counts), counts)
    table[parent, 1 + slot] = child
    table[:, 1:].sort(axis=1)
    table[:, 0] = kinds
    order = np.lexsort(table.T[::-1])
    new = np.ones(len(kinds), bool)
    new[1:] = (table[order[1:]] != table[order[:-1]]).any(1)
    number = np.empty(len(kinds), np.int64)
    number[order] = np.cumsum(new) - 1
    distinct = table[order[new]]
    members = distinct[:, 1:] >= 0
    offsets = np.concatenate([[0], np.cumsum(members.sum(1))])
    return Level(distinct[:, 0], offsets, distinct[:, 1:][members]), number
