"""A property table made ready for training: features, split, scaling, tensors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gate_model.data.batches import ExchangingBatches, LabelledMolecules
from gate_model.data.inputs import Featurizer, Reads, Rows
from gate_model.data.molecules.features import FeatureScaler, features
from gate_model.data.splits import Split, scaffold_split
from gate_model.data.table import PropertyTable

__all__ = ["PreparedData", "Standardizer", "prepare"]

Labels = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Mean and standard deviation of each task's labels, `[T]`."""

    mean: Labels
    std: Labels

    @classmethod
    def fit(cls, labels: Labels) -> "Standardizer":
        """From labels `[N, T]`, NaN = none; a task whose labels are all the same gets std 1."""
        std = np.nanstd(labels, axis=0)
        return cls(np.nanmean(labels, axis=0), np.where(std > 0, std, 1.0))

    def transform(self, labels: Labels) -> Labels:
        """Standardised labels; NaN stays."""
        return (labels - self.mean) / self.std

    def inverse(self, standardised: Labels) -> Labels:
        """Labels in the tasks' own units."""
        return standardised * self.std + self.mean

    def to_dict(self) -> dict[str, Labels]:
        """The arrays by name."""
        return {"mean": self.mean, "std": self.std}

    @classmethod
    def from_dict(cls, arrays: dict[str, Labels]) -> "Standardizer":
        """Inverse of `to_dict`."""
        return cls(arrays["mean"], arrays["std"])


@dataclass(frozen=True)
class PreparedData:
    """Molecules with standardised labels, and the split of one seed."""

    table: PropertyTable
    molecules: LabelledMolecules
    """What the embedding reads of N molecules, y and mask `[N, T]`."""
    labels: Labels
    """Standardised labels `[N, T]`, NaN = none."""
    split: Split
    standardizer: Standardizer
    featurizer: Featurizer

    @property
    def abbreviations(self) -> tuple[str, ...]:
        """The tasks, in order."""
        return self.table.abbreviations

    def some(self, rows: NDArray[np.int64]) -> tuple[Rows, Labels]:
        """Inputs of n molecules, and their standardised labels `[n, T]` (NaN = none)."""
        return Rows(self.molecules.x, torch.from_numpy(rows)), self.labels[rows]

    def batches(
        self, batch_size: int, exchange: float, *, seed: int, device: torch.device | None = None
    ) -> ExchangingBatches:
        """Train and validation batches on `device` (None: where the molecules are); see `ExchangingBatches`."""
        molecules = self.molecules if device is None else self.molecules.to(device)
        train, validation = self.split.train, self.split.validation
        return ExchangingBatches(molecules, train, validation, batch_size=batch_size, exchange=exchange, seed=seed)


def prepare(
    table: PropertyTable,
    *,
    seed: int,
    reads: Reads = "features",
    depth: int = 3,
    split: Split | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PreparedData:
    """Inputs, a split, and scaling learned from its training molecules alone.

    Args:
        table: molecules and labels.
        seed: of the split.
        reads: what the embedding reads.
        depth: of message passing, for graphs.
        split: of the table's molecules; the scaffold split of `seed` when left out.
        progress: called with (molecules done, N); for graphs once more from the start.
    """
    raw = features(table.smiles, progress=progress)
    split = scaffold_split(table.smiles, table.labels, seed=seed) if split is None else split
    featurizer = Featurizer(reads, FeatureScaler.fit(raw[split.train]), depth)
    standardizer = Standardizer.fit(table.labels[split.train])
    labels = standardizer.transform(table.labels)
    molecules = LabelledMolecules.from_labels(featurizer(table.smiles, raw, progress=progress), labels)
    return PreparedData(table, molecules, labels, split, standardizer, featurizer)
