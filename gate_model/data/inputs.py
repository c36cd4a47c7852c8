"""From SMILES to the inputs of an embedding: rows of features, or graphs with descriptors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gate_model.data.batches import Inputs
from gate_model.data.molecules.features import MORGAN_BITS, Array, FeatureScaler
from gate_model.data.molecules.graphs import pack

__all__ = ["Featurizer", "Reads", "Rows"]

Reads = Literal["features", "graphs"]
"""The inputs of an embedding: rows of features `[B, F]`, or a `GraphBatch` whose `descriptors` are `[B, F]`."""


@dataclass(frozen=True, eq=False)
class Featurizer:
    """Computes the inputs of an embedding from SMILES.

    Args:
        reads: "features" for scaled fingerprints and descriptors; "graphs" for graphs with scaled descriptors.
        scaler: the scaling of the features, learned from the training molecules.
        depth: depth of the network that reads the graphs.

    Raises:
        ValueError: `reads` is neither "features" nor "graphs".
    """

    reads: Reads
    scaler: FeatureScaler
    depth: int = 3

    def __post_init__(self) -> None:
        if self.reads not in ("features", "graphs"):
            raise ValueError(f"reads={self.reads!r}: it must be 'features' or 'graphs'")

    @property
    def width(self) -> int:
        """F, the number of features of a molecule besides its graph."""
        return len(self.scaler.mean) - (MORGAN_BITS if self.reads == "graphs" else 0)

    def __call__(
        self,
        smiles: Sequence[str],
        raw: Array,
        *,
        keep: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> Inputs:
        """Return the inputs of N molecules.

        Args:
            smiles: N SMILES that RDKit can read.
            raw: the molecules' `features`, not scaled.
            keep: store the graphs in the cache on disk.
            progress: called with (number of graphs made, N).
        """
        scaled = torch.from_numpy(self.scaler.transform(raw))
        if self.reads == "features":
            return scaled
        descriptors = scaled[:, MORGAN_BITS:].contiguous()
        return pack(smiles, depth=self.depth, descriptors=descriptors, keep=keep, progress=progress)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some molecules of `inputs`, in the order of `rows` (int64 `[n]`)."""

    inputs: Inputs
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: Tensor, /) -> Any:
        return self.inputs[self.rows[indices]]

    def to(self, device: Any, /) -> "Rows":
        """Return the same rows on another device."""
        return Rows(self.inputs.to(device), self.rows.to(device))
