"""Parts of the molecules: training, validation, selection, test; by scaffold or by chance, the same for all tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gate_model.data.molecules.smiles import scaffold
from gate_model.data.table import DataError, PropertyTable

__all__ = ["SPLIT_METHOD", "Split", "Splitting", "fewer", "random_split", "scaffold_split", "split_of"]

SPLIT_METHOD = "scaffold; acyclic molecules one group each; one split per seed"
"""How reports and model cards call the scaffold split."""
_LARGE = 0.02
_ATTEMPTS = 200
_FAIR = 0.3

Rows = NDArray[np.int64]
Splitting = Literal["scaffold", "random"]


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers, sorted; the four parts are disjoint and cover all molecules."""

    train: Rows
    validation: Rows
    """Drives λ; 20 % of it changes places with train between epochs."""
    selection: Rows
    """Never trained on; chooses between models and searches."""
    test: Rows
    """Looked at once."""

    def sizes(self) -> dict[str, int]:
        """Molecules in each part, by its name."""
        return {name: len(rows) for name, rows in vars(self).items()}


def split_of(table: PropertyTable, kind: Splitting, fraction: float = 1.0, *, seed: int) -> Split:
    """A split of the table's molecules, with a share of its train and validation molecules only.

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
    """Split by Murcko scaffold, at random in the seed; an acyclic molecule is a group of its own.

    Acyclic molecules have the empty scaffold in common; as one group (31 % of `chemicals`) they would
    make the split lopsided. Scaffolds of more than 2 % of the molecules are dealt first, to the roomiest part.

    Every task must be found in every part. Up to 200 orders are tried for one in which each task has 0.3 of its fair
    share everywhere; otherwise the best is taken.

    Args:
        smiles: N canonical SMILES.
        labels: `[N, T]`, NaN = no label.
        seed: of the order.
        fractions: of train, validation, selection and test.

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
            f"{', '.join(map(str, counts[:, column]))} fall into train, validation, selection and test: each part "
            "needs one. Leave the task out with --tasks, or add labels on other scaffolds"
        )
    return Split(*(np.flatnonzero(best_part == p) for p in range(4)))


def random_split(
    labels: NDArray[np.float64], *, seed: int, fractions: tuple[float, float, float, float] = (0.7, 0.1, 0.1, 0.1)
) -> Split:
    """Molecules by chance into train, validation, selection and test; every task is found in every part.

    Easier than a scaffold split: most test molecules have close relatives in train.

    Args:
        labels: `[N, T]`, NaN = no label.
        seed: of the order.
        fractions: of the four parts.

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
    raise DataError(f"a task has so few labels that no random split gives some to each part: {present.sum(0).min()}")


def fewer(split: Split, labels: NDArray[np.float64], fraction: float, *, seed: int) -> Split:
    """The same split with a share of its train and validation molecules, drawn by chance; selection and test stay.

    Both shrink, since molecules change places between them during a training.

    Args:
        split: of N molecules.
        labels: `[N, T]`, NaN = no label.
        fraction: above 0, at most 1; 1 gives `split` itself.
        seed: of the draw.

    Raises:
        DataError: no draw leaves two train labels and one validation label of every task.
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
    """Part of every molecule: large groups first to the roomiest part, then the others where they fit."""
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
