"""A property table prepared for training: features, split, scaling and tensors."""

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
    """Standardises labels with the mean and the standard deviation of each task, `[T]`."""

    mean: Labels
    std: Labels

    @classmethod
    def fit(cls, labels: Labels) -> "Standardizer":
        """Compute both from labels `[N, T]` (NaN = no label). A task whose labels are all equal gets std 1."""
        std = np.nanstd(labels, axis=0)
        return cls(np.nanmean(labels, axis=0), np.where(std > 0, std, 1.0))

    def transform(self, labels: Labels) -> Labels:
        """Return the standardised labels; NaN stays NaN."""
        return (labels - self.mean) / self.std

    def inverse(self, standardised: Labels) -> Labels:
        """Return labels in the tasks' own units."""
        return standardised * self.std + self.mean

    def to_dict(self) -> dict[str, Labels]:
        """Return both arrays by name."""
        return {"mean": self.mean, "std": self.std}

    @classmethod
    def from_dict(cls, arrays: dict[str, Labels]) -> "Standardizer":
        """Return the object from which `to_dict` made these arrays."""
        return cls(arrays["mean"], arrays["std"])


@dataclass(frozen=True)
class PreparedData:
    """Molecules with standardised labels, and the split of one seed."""

    table: PropertyTable
    molecules: LabelledMolecules
    """Inputs of N molecules, with labels y and mask `[N, T]`."""
    labels: Labels
    """Standardised labels `[N, T]`, NaN = no label."""
    split: Split
    standardizer: Standardizer
    featurizer: Featurizer

    @property
    def abbreviations(self) -> tuple[str, ...]:
        """Abbreviations of the tasks, in order."""
        return self.table.abbreviations

    def some(self, rows: NDArray[np.int64]) -> tuple[Rows, Labels]:
        """Return the inputs of the molecules `rows` `[n]`, and their standardised labels `[n, T]` (NaN = no label)."""
        return Rows(self.molecules.x, torch.from_numpy(rows)), self.labels[rows]

    def batches(
        self, batch_size: int, exchange: float, *, seed: int, device: torch.device | None = None
    ) -> ExchangingBatches:
        """Return train and validation batches, see `ExchangingBatches`.

        Args:
            batch_size: molecules per batch, at least 2.
            exchange: share of the validation molecules that is exchanged between epochs, 0 to 1.
            seed: seed of the order of the molecules and of the exchange.
            device: device of the batches; None: where the molecules are.
        """
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
    """Prepare a table for training: compute the inputs, split the molecules, and standardise features and labels.

    The scaling is learned from the training molecules of the split only.

    Args:
        table: molecules and labels.
        seed: seed of the split.
        reads: the inputs of the embedding: "features" or "graphs".
        depth: depth of the message passing, for graphs.
        split: a split of the table's molecules; default: the scaffold split of `seed`.
        progress: called with (number of molecules done, N); for graphs it counts a second time.
    """
    raw = features(table.smiles, progress=progress)
    split = scaffold_split(table.smiles, table.labels, seed=seed) if split is None else split
    featurizer = Featurizer(reads, FeatureScaler.fit(raw[split.train]), depth)
    standardizer = Standardizer.fit(table.labels[split.train])
    labels = standardizer.transform(table.labels)
    molecules = LabelledMolecules.from_labels(featurizer(table.smiles, raw, progress=progress), labels)
    return PreparedData(table, molecules, labels, split, standardizer, featurizer)
