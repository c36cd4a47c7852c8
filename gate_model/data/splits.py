"""Splits of the molecules into train, validation, selection and test, by scaffold or at random.

A split is the same for all tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gate_model.data.molecules.smiles import scaffold
from gate_model.data.table import DataError, PropertyTable

__all__ = ["SPLIT_METHOD", "Split", "Splitting", "fewer", "random_split", "scaffold_split", "split_of"]

SPLIT_METHOD = "scaffold; acyclic molecules one group each; one split per seed"
"""The description of the scaffold split in reports and model cards."""
_LARGE = 0.02
_ATTEMPTS = 200
_FAIR = 0.3

Rows = NDArray[np.int64]
Splitting = Literal["scaffold", "random"]


@dataclass(frozen=True, eq=False)
class Split:
    """Four sorted, disjoint lists of row numbers. Together they hold all molecules, unless `fewer` made the split."""

    train: Rows
    """Molecules to train on."""
    validation: Rows
    """Molecules from which λ is learned; 20 % of them are exchanged for train molecules between epochs."""
    selection: Rows
    """Molecules that are never trained on; they choose between models, and between the points of a search."""
    test: Rows
    """Molecules that are used once, for the final numbers."""

    def sizes(self) -> dict[str, int]:
        """Return the number of molecules in each part, by name."""
        return {name: len(rows) for name, rows in vars(self).items()}


def split_of(table: PropertyTable, kind: Splitting, fraction: float = 1.0, *, seed: int) -> Split:
    """Return a split of the table's molecules of which only a share of train and validation is kept.

    Args:
        table: molecules and labels.
        kind: "scaffold" or "random".
        fraction: share of the train and validation molecules to keep, above 0 and at most 1.
        seed: seed of the split.

    Raises:
        DataError: some task would have no label in some part.
        ValueError: `fraction` is not above 0 and at most 1.
    """
    if kind == "scaffold":
        whole = scaffold_split(table.smiles, table.labels, seed=seed)
    else:
        whole = random_split(table.labels, seed=seed)
    return fewer(whole, table.labels, fraction, seed=seed)


def scaffold_split(
    smiles: Sequence[str],
    labels: NDArray[np.float64],
    *,
    seed: int,
    fractions: tuple[float, float, float, float] = (0.7, 0.1, 0.1, 0.1),
) -> Split:
    """Split by Murcko scaffold: molecules with the same scaffold are in the same part.

    The scaffolds are assigned at random. All acyclic molecules have the empty scaffold; as one group (31 % of
    `chemicals`) they would unbalance the split, so each of them is a group of its own. Scaffolds of more than 2 % of
    the molecules are assigned first, to the part with the most room.

    Every task must have labels in every part. Up to 200 random orders are tried until each task has at least 0.3 of its
    proportional share in every part; if none is found, the best of them is used.

    Args:
        smiles: N canonical SMILES.
        labels: labels `[N, T]`, NaN = no label.
        seed: seed of the random order.
        fractions: shares of train, validation, selection and test.

    Raises:
        DataError: some task has no label in some part, whatever the order.
    """
    groups: dict[str, list[int]] = {}
    for row, structure in enumerate(smiles):
        groups.setdefault(scaffold(structure) or f"acyclic {row}", []).append(row)
    ordered = [np.array(rows) for rows in groups.values()]
    present = np.isfinite(labels)
    wanted = np.maximum(1, _FAIR * np.outer(fractions, present.sum(0)))
    best, best_part = -1.0, np.zeros(len(smiles), dtype=int)
    for attempt in range(_ATTEMPTS):
        part = _deal(ordered, np.array(fractions) * len(smiles), np.random.default_rng([seed, attempt]), len(smiles))
        counts = np.array([present[part == p].sum(0) for p in range(4)])
        score = float(np.minimum(counts / wanted, 1).min()) if counts.size else 1.0
        if score > best:
            best, best_part = score, part
        if score >= 1:
            break
    if best <= 0:
        counts = np.array([present[best_part == p].sum(0) for p in range(4)])
        column = int((counts == 0).any(0).argmax())
        raise DataError(
            f"task {column + 1} of {labels.shape[1]} has {int(present[:, column].sum())} labels, of which "
            f"{', '.join(map(str, counts[:, column]))} fall into train, validation, selection and test; each part must "
            "have at least one. Leave the task out with --tasks, or add labels of molecules with other scaffolds"
        )
    return Split(*(np.flatnonzero(best_part == p) for p in range(4)))


def random_split(
    labels: NDArray[np.float64], *, seed: int, fractions: tuple[float, float, float, float] = (0.7, 0.1, 0.1, 0.1)
) -> Split:
    """Split the molecules at random; every task has labels in every part.

    This is easier than a scaffold split, because most test molecules have close relatives in train.

    Args:
        labels: labels `[N, T]`, NaN = no label.
        seed: seed of the random order.
        fractions: shares of train, validation, selection and test.

    Raises:
        DataError: no order gives every part a label of every task.
    """
    present = np.isfinite(labels)
    cuts = np.round(np.cumsum(fractions)[:3] * len(labels)).astype(int)
    for attempt in range(_ATTEMPTS):
        order = np.random.default_rng([seed, attempt]).permutation(len(labels))
        parts = np.split(order, cuts)
        if all(present[part].any(0).all() for part in parts):
            return Split(*(np.sort(part) for part in parts))
    raise DataError(
        f"a task has so few labels ({present.sum(0).min()}) that no random split gives each part at least one; leave "
        "the task out with --tasks, or add labels"
    )


def fewer(split: Split, labels: NDArray[np.float64], fraction: float, *, seed: int) -> Split:
    """Keep a random share of the train and validation molecules; selection and test stay as they are.

    Both train and validation shrink, because molecules are exchanged between them during a training.

    Args:
        split: a split of N molecules.
        labels: labels `[N, T]`, NaN = no label.
        fraction: share to keep, above 0 and at most 1; with 1 `split` itself is returned.
        seed: seed of the random choice.

    Raises:
        DataError: no random choice leaves two train labels and one validation label of every task.
        ValueError: `fraction` is outside its range.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction}: it must be above 0 and at most 1")
    if fraction == 1:
        return split
    present = np.isfinite(labels)
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, attempt])
        train, validation = (
            np.sort(rng.permutation(rows)[: max(2, round(fraction * len(rows)))])
            for rows in (split.train, split.validation)
        )
        if (present[train].sum(0) >= 2).all() and present[validation].any(0).all():
            return Split(train, validation, split.selection, split.test)
    raise DataError(
        f"{fraction:g} of the train and validation molecules leaves some task without two train labels and one "
        "validation label; use a larger fraction, or leave out the smallest tasks"
    )


def _deal(groups: list[Rows], room: NDArray[np.float64], rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Return the part of every molecule: large groups go first, to the part with the most room, then the others."""
    part = np.zeros(n, dtype=np.int64)
    left = room.copy()
    shuffled = [groups[i] for i in rng.permutation(len(groups))]
    for group in sorted(shuffled, key=lambda g: len(g) <= _LARGE * n):
        if len(group) > _LARGE * n:
            choice = int(left.argmax())
        else:
            choice = int(rng.choice(4, p=np.maximum(left, 1e-9) / np.maximum(left, 1e-9).sum()))
        part[group] = choice
        left[choice] -= len(group)
    return part
