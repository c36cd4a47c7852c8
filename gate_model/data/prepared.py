"""A property table made ready for training: features, split, scaling, tensors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gate_model.data.batches import LabelledMolecules
from gate_model.data.features import FeatureScaler, features
from gate_model.data.scaling import Standardizer
from gate_model.data.splits import Split, scaffold_split
from gate_model.data.table import PropertyTable

__all__ = ["PreparedData", "prepare"]


@dataclass(frozen=True)
class PreparedData:
    """Molecules with standardised labels, and the split of one seed."""

    table: PropertyTable
    molecules: LabelledMolecules
    """x `[N, F]` scaled features, y and mask `[N, T]`."""
    x: Tensor
    """The scaled features `[N, F]`."""
    labels: NDArray[np.float64]
    """Standardised labels `[N, T]`, NaN = none."""
    split: Split
    standardizer: Standardizer
    scaler: FeatureScaler

    @property
    def abbreviations(self) -> tuple[str, ...]:
        """The tasks, in order."""
        return self.table.abbreviations

    def some(self, rows: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.float64]]:
        """Features `[n, F]` and standardised labels `[n, T]` (NaN = none) of some molecules."""
        return self.x[torch.from_numpy(rows)], self.labels[rows]


def prepare(table: PropertyTable, *, seed: int, progress: Callable[[int, int], None] | None = None) -> PreparedData:
    """Features, the scaffold split of `seed`, and scaling learned from its training molecules alone."""
    raw = features(table.smiles, progress=progress)
    split = scaffold_split(table.smiles, table.labels, seed=seed)
    scaler = FeatureScaler.fit(raw[split.train])
    standardizer = Standardizer.fit(table.labels[split.train])
    labels = standardizer.transform(table.labels)
    x = torch.from_numpy(scaler.transform(raw))
    return PreparedData(table, LabelledMolecules.from_labels(x, labels), x, labels, split, standardizer, scaler)
