"""The scaffold split: molecules that share a scaffold stand on the same side, for every task."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate_model.data.molecules.smiles import scaffold
from gate_model.data.table import DataError

__all__ = ["Split", "scaffold_split"]

_LARGE = 0.02
_ATTEMPTS = 200
_FAIR = 0.3

Rows = NDArray[np.int64]


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
