"""Molecules as graphs, packed in flat tensors; a batch is made by indexing."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gate_model.data import cache
from gate_model.data.molecules.atoms_and_bonds import atom_features, bond_features, molecule_graphs
from gate_model.data.molecules.environments import environments

__all__ = ["Block", "GraphBatch", "PackedGraphs", "pack"]

_FORMAT = 1


class Block(NamedTuple):
    """n environments of a batch: each has something at its root, and children in the block below."""

    kinds: Tensor
    """What stands at the root, int64 `[n]`."""
    parents: Tensor
    """The environment that each child belongs to, ascending, int64 `[c]`."""
    children: Tensor
    """Rows of the block below, int64 `[c]`."""

    def to(self, device: torch.device | str) -> "Block":
        """The same block on another device."""
        return Block(*(part.to(device) for part in self))


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """B molecules; all that a directed message-passing network reads.

    Directed bonds and atoms whose surroundings look the same to the network stand here once.
    """

    atom_features: Tensor
    """The kinds of atoms in the whole data set `[V, 72]`."""
    bond_features: Tensor
    """Its kinds of bonds `[R, 14]`."""
    bonds: Tensor
    """Directed bonds before any message: kinds of the first atom and of the bond, int64 `[n, 2]`."""
    steps: tuple[Block, ...]
    """Directed bonds v→w after each step. Kinds: rows of `bonds`. Children: the bonds u→v, u ≠ w, a step before."""
    atoms: Block
    """Atoms. Kinds: rows of `atom_features`. Children: the directed bonds that lead to them, after the last step."""
    molecules: Block
    """The B molecules. Kinds: number of atoms. Children: the atoms."""
    descriptors: Tensor | None = None
    """Further features of the molecules `[B, F]`, if there are any."""

    def __len__(self) -> int:
        return len(self.molecules.kinds)

    def to(self, device: torch.device | str) -> "GraphBatch":
        """The same batch on another device."""
        return GraphBatch(
            self.atom_features.to(device),
            self.bond_features.to(device),
            self.bonds.to(device),
            tuple(step.to(device) for step in self.steps),
            self.atoms.to(device),
            self.molecules.to(device),
            None if self.descriptors is None else self.descriptors.to(device),
        )


def _unique(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows, ascending, and the place of each given one among them."""
    distinct, place = torch.unique(rows, return_inverse=True)
    return distinct, place


class PackedLevel(NamedTuple):
    """All environments of a level in one list; see `gate_model.data.molecules.environments.Level`."""

    kinds: Tensor
    offsets: Tensor
    children: Tensor

    def to(self, device: torch.device | str) -> "PackedLevel":
        """The same on another device."""
        return PackedLevel(*(part.to(device) for part in self))

    def block(self, rows: Tensor) -> tuple[Block, Tensor]:
        """The environments `rows` `[n]`, and the rows of the level below that their children number."""
        starts = self.offsets[rows]
        counts = self.offsets[rows + 1] - starts
        parents = torch.repeat_interleave(counts)
        shift = starts - (counts.cumsum(0) - counts)
        members = self.children[torch.arange(len(parents), device=rows.device) + shift[parents]]
        below, children = _unique(members)
        return Block(self.kinds[rows], parents, children), below


@dataclass(frozen=True, eq=False)
class PackedGraphs:
    """N molecules as inputs of `DirectedMPNN`; `graphs[rows]` is a batch.

    Args:
        atom_features: kinds of atoms `[V, 72]`.
        bond_features: kinds of bonds `[R, 14]`.
        bonds, levels, atoms, molecules: see `gate_model.data.molecules.environments.Environments`.
        descriptors: further features `[N, F]` of the molecules.

    Raises:
        ValueError: `descriptors` is not `[N, F]`.
    """

    atom_features: Tensor
    bond_features: Tensor
    bonds: Tensor
    levels: tuple[PackedLevel, ...]
    atoms: PackedLevel
    molecules: PackedLevel
    descriptors: Tensor | None = None

    def __post_init__(self) -> None:
        if self.descriptors is not None and (self.descriptors.ndim != 2 or len(self.descriptors) != len(self)):
            raise ValueError(f"descriptors must be [{len(self)}, F]; got {tuple(self.descriptors.shape)}")

    def __len__(self) -> int:
        return len(self.molecules.kinds)

    def __getitem__(self, indices: Tensor) -> GraphBatch:
        """The molecules `indices` `[B]` (int64), in that order; a molecule may come more than once."""
        indices = torch.arange(len(self), device=self.bonds.device)[indices]  # IndexError for a row that is not there
        molecules, rows = self.molecules.block(indices)
        atoms, rows = self.atoms.block(rows)
        steps: list[Block] = []
        for level in reversed(self.levels):
            step, rows = level.block(rows)
            steps.insert(0, step)
        # The first level is read twice: by the children of the block above it, and as the root of every step.
        first, place = _unique(torch.cat([rows, *(step.kinds for step in steps)]))
        of_children, *of_roots = torch.split(place, [len(rows), *(len(step.kinds) for step in steps)])
        steps = [step._replace(kinds=roots) for step, roots in zip(steps, of_roots, strict=True)]
        if steps:
            steps[0] = steps[0]._replace(children=of_children[steps[0].children])
        else:
            atoms = atoms._replace(children=of_children[atoms.children])
        return GraphBatch(
            self.atom_features,
            self.bond_features,
            self.bonds[first],
            tuple(steps),
            atoms,
            molecules,
            None if self.descriptors is None else self.descriptors[indices],
        )

    def to(self, device: torch.device | str) -> "PackedGraphs":
        """The same molecules on another device."""
        return PackedGraphs(
            self.atom_features.to(device),
            self.bond_features.to(device),
            self.bonds.to(device),
            tuple(level.to(device) for level in self.levels),
            self.atoms.to(device),
            self.molecules.to(device),
            None if self.descriptors is None else self.descriptors.to(device),
        )


def pack(
    smiles: Sequence[str],
    *,
    depth: int = 3,
    descriptors: Tensor | None = None,
    keep: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> PackedGraphs:
    """N molecules packed for a network of `depth`.

    Args:
        smiles: N SMILES; hydrogens stay implicit.
        depth: states of a directed bond that the network computes; chemprop's default is 3.
        descriptors: further features `[N, F]`, joined to what the network reads out.
        keep: cache the graphs on disk by the molecules, the depth and the RDKit version.
        progress: called with (molecules done, N).

    Raises:
        ValueError: `depth` is below 1, or `descriptors` is not `[N, F]`.
        DataError: a SMILES that RDKit cannot read, or without an atom.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1; got {depth}")
    digest = hashlib.sha256("\n".join(smiles).encode()).hexdigest()
    file = f"graphs-{cache.key_of(_FORMAT, version('rdkit'), depth, len(smiles), digest)}.npz"
    kept = cache.read(file) if keep else None
    if kept is None:
        arrays = _arrays(smiles, depth, progress)
        if keep:
            buffer = io.BytesIO()
            narrow: dict[str, Any] = {name: _narrow(array) for name, array in arrays.items()}
            np.savez(buffer, **narrow)
            cache.write(file, buffer.getvalue())
    else:
        with np.load(io.BytesIO(kept), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if progress:
            progress(len(smiles), len(smiles))
    packed = _packed(arrays, depth)
    return packed if descriptors is None else replace(packed, descriptors=descriptors)


Arrays = dict[str, NDArray[np.generic]]


def _arrays(smiles: Sequence[str], depth: int, progress: Callable[[int, int], None] | None) -> Arrays:
    graphs = molecule_graphs(smiles, progress=progress)
    found = environments(graphs, depth)
    arrays: Arrays = {
        "atom_features": atom_features(graphs.atom_kinds),
        "bond_features": bond_features(graphs.bond_kinds),
        "bonds": found.bonds,
    }
    for name, level in zip(_levels(depth), (*found.levels, found.atoms, found.molecules), strict=True):
        arrays |= {f"{name}.{part}": getattr(level, part) for part in PackedLevel._fields}
    return arrays


def _packed(arrays: Arrays, depth: int) -> PackedGraphs:
    tensors = {
        name: torch.from_numpy(array if array.dtype == np.float32 else array.astype(np.int64))
        for name, array in arrays.items()
    }
    levels = [PackedLevel(*(tensors[f"{name}.{part}"] for part in PackedLevel._fields)) for name in _levels(depth)]
    *steps, atoms, molecules = levels
    return PackedGraphs(
        tensors["atom_features"], tensors["bond_features"], tensors["bonds"], tuple(steps), atoms, molecules
    )


def _levels(depth: int) -> list[str]:
    return [*(f"step{step}" for step in range(1, depth)), "atoms", "molecules"]


def _narrow(array: NDArray[np.generic]) -> NDArray[np.generic]:
    return array if array.dtype == np.float32 else array.astype(np.int32)
