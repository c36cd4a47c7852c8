"""A split by chance, and a split with fewer molecules to learn from."""

import numpy as np
from numpy.typing import NDArray

from gate_model.data.splits import Split
from gate_model.data.table import DataError

__all__ = ["fewer", "random_split"]

_ATTEMPTS = 200


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
        raise ValueError(f"fraction={fraction}: a number above 0 and at most 1 is wanted")
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
