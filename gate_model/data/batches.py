"""Batches of labelled molecules, and the exchange of molecules between train and validation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Batch", "Batches", "ExchangingBatches", "Inputs", "LabelledMolecules"]


class Inputs(Protocol):
    """The inputs of an embedding, one row per molecule: a tensor, or any object with these three methods."""

    def __getitem__(self, indices: Tensor, /) -> Any:
        """Return the rows `indices` `[B]` (int64), in that order."""

    def __len__(self) -> int:
        """Return the number of molecules N."""

    def to(self, device: Any, /) -> Any:
        """Return the same inputs on another device."""


class Batch(NamedTuple):
    """B molecules with the labels of T tasks."""

    x: Any
    """Inputs of the embedding, `[B, ...]`."""
    y: Tensor
    """Standardised labels `[B, T]`, 0 where there is no label."""
    mask: Tensor
    """True where there is a label, bool `[B, T]`."""

    def to(self, device: torch.device | str) -> "Batch":
        """Return the same batch on another device."""
        return Batch(self.x.to(device), self.y.to(device), self.mask.to(device))


@dataclass(frozen=True, eq=False)
class LabelledMolecules:
    """N molecules: inputs `x` `[N, ...]`, labels `y` `[N, T]` and `mask` `[N, T]` (True = labelled).

    Raises:
        ValueError: lengths or shapes differ, `mask` is not boolean, or a label marked as present is not finite.
    """

    x: Inputs
    y: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.mask.dtype != torch.bool:
            raise ValueError(f"mask must be boolean; got {self.mask.dtype}")
        if self.y.ndim != 2 or self.y.shape != self.mask.shape:
            raise ValueError(f"y and mask must both be [N, T]; got {tuple(self.y.shape)} and {tuple(self.mask.shape)}")
        if len(self.x) != len(self.y):
            raise ValueError(f"x has {len(self.x)} molecules, y has {len(self.y)}")
        bad = (self.mask & ~self.y.isfinite()).nonzero()
        if len(bad):
            row, column = bad[0].tolist()
            raise ValueError(
                f"y[{row}, {column}] = {self.y[row, column].item()} is marked as a label; it must be finite"
            )
        object.__setattr__(self, "y", torch.where(self.mask, self.y, 0))

    @classmethod
    def from_labels(cls, x: Inputs, labels: NDArray[np.floating[Any]] | Tensor) -> Self:
        """Make it from labels `[N, T]`, NaN = no label. An array becomes float32; a tensor keeps its type."""
        y = labels if isinstance(labels, Tensor) else torch.as_tensor(labels, dtype=torch.float32)
        return cls(x, y, ~y.isnan())

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices: Tensor) -> Batch:
        """Return the molecules `indices` `[B]` (int64), in that order, as a batch."""
        return Batch(self.x[indices], self.y[indices], self.mask[indices])

    def to(self, device: torch.device | str) -> "LabelledMolecules":
        """Return the same molecules on another device."""
        return LabelledMolecules(self.x.to(device), self.y.to(device), self.mask.to(device))


class Batches:
    """The train or the validation batches of `ExchangingBatches`; every `iter()` is one pass over the molecules."""

    def __init__(self, owner: "ExchangingBatches", validation: bool) -> None:
        self._owner, self._validation = owner, validation

    def __len__(self) -> int:
        """Return the number of batches in one pass."""
        n = len(self.indices)
        full, rest = divmod(n, self._owner.batch_size)
        return max(full + (rest > 1), 1)

    def __iter__(self) -> Iterator[Batch]:
        order = self.indices if self._validation else self._owner.shuffled_train()
        size, n = self._owner.batch_size, len(self)
        cuts = [*range(size, size * n, size), len(order)]
        return (self._owner.molecules.batch(order[start:stop]) for start, stop in zip([0, *cuts], cuts, strict=False))

    @property
    def indices(self) -> Tensor:
        """The present molecules of this side, int64 `[n]`."""
        return self._owner.validation_indices if self._validation else self._owner.train_indices


class ExchangingBatches:
    """Train and validation batches. Between epochs, train and validation exchange a share of their molecules.

    Each molecule is always on exactly one of the two sides, and the sizes of the sides never change. Other molecules,
    such as a test set, are never used. Train molecules were validation molecules before and will be again, so the
    validation loss cannot choose between models: keep other molecules aside for that.

    - `data.train`: every `iter()` is one epoch in a new order.
    - `data.validation`: every `iter()` is one pass. Its order is drawn by `next_epoch`, so that a run that never looks
      at the validation batches gets the same train batches as one that does.
    - A last batch of a single molecule is joined to the batch before it (batch norm needs two molecules); any other
      partial batch is kept. No molecule is left out of an epoch.

    All random numbers come from a separate generator, which is seeded here.

    Args:
        molecules: all molecules.
        train: rows of `molecules` to train on, int64 `[n]`; at least 2.
        validation: rows to validate on, disjoint from `train`; at least 1.
        batch_size: molecules per batch, at least 2.
        exchange: share of the validation molecules that is exchanged by `next_epoch`, 0 to 1; the paper's is 0.2. The
            number is rounded, and is at most the number of train molecules.
        seed: seed of the generator.

    Raises:
        ValueError: an argument is outside its range, or a molecule is in both `train` and `validation`.
    """

    def __init__(
        self,
        molecules: LabelledMolecules,
        train: NDArray[np.int64] | Tensor,
        validation: NDArray[np.int64] | Tensor,
        *,
        batch_size: int,
        exchange: float = 0.2,
        seed: int = 0,
    ) -> None:
        if batch_size < 2:
            raise ValueError(f"batch_size must be at least 2; got {batch_size}")
        if not 0 <= exchange <= 1:
            raise ValueError(f"exchange must be between 0 and 1; got {exchange}")
        self.molecules, self.batch_size, self.exchange = molecules, batch_size, exchange
        self.train_indices = _rows(train, "train", len(molecules), at_least=2)
        self.validation_indices = _rows(validation, "validation", len(molecules), at_least=1)
        both = torch.cat([self.train_indices, self.validation_indices])
        counts = both.bincount()
        if int(counts.max()) > 1:
            raise ValueError(
                f"molecule {int(counts.argmax())} appears twice in train and validation; each may appear once"
            )
        self.epoch = 0
        self._generator = torch.Generator().manual_seed(seed)
        self.train, self.validation = Batches(self, validation=False), Batches(self, validation=True)
        self._shuffle_validation()

    def shuffled_train(self) -> Tensor:
        """Return the train molecules in a new random order, int64 `[n]`."""
        return self.train_indices[torch.randperm(len(self.train_indices), generator=self._generator)]

    def next_epoch(self) -> None:
        """Exchange molecules between train and validation, and add 1 to `epoch`."""
        n = min(round(self.exchange * len(self.validation_indices)), len(self.train_indices))
        train, validation = self.train_indices.clone(), self.validation_indices.clone()
        leave = torch.randperm(len(train), generator=self._generator)[:n]
        enter = torch.randperm(len(validation), generator=self._generator)[:n]
        train[leave], validation[enter] = self.validation_indices[enter], self.train_indices[leave]
        self.train_indices, self.validation_indices = train, validation
        self._shuffle_validation()
        self.epoch += 1

    def state_dict(self) -> dict[str, Tensor | int]:
        """Return the indices, the generator and the number of epochs as tensors and ints.

        `torch.load(weights_only=True)` can read them. Take the state between epochs: then a resumed run gives the same
        bits as an uninterrupted one. A state taken during a pass over `train` resumes with a new epoch.
        """
        return {
            "train": self.train_indices.clone(),
            "validation": self.validation_indices.clone(),
            "generator": self._generator.get_state(),
            "epoch": self.epoch,
        }

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Continue from `state`.

        Raises:
            ValueError: the state belongs to other molecules, or to sides of other sizes.
        """
        train, validation = torch.as_tensor(state["train"]), torch.as_tensor(state["validation"])
        for name, new, old in (
            ("train", train, self.train_indices),
            ("validation", validation, self.validation_indices),
        ):
            if len(new) != len(old):
                raise ValueError(f"the state has {len(new)} {name} molecules, these data have {len(old)}")
        ours = torch.cat([self.train_indices, self.validation_indices]).sort().values
        if not torch.equal(torch.cat([train, validation]).sort().values, ours):
            raise ValueError("the state's train and validation molecules are not those of these data")
        self.train_indices, self.validation_indices = train.clone(), validation.clone()
        self._generator.set_state(torch.as_tensor(state["generator"]))
        self.epoch = int(state["epoch"])

    def _shuffle_validation(self) -> None:
        n = len(self.validation_indices)
        self.validation_indices = self.validation_indices[torch.randperm(n, generator=self._generator)]


def _rows(indices: NDArray[np.int64] | Tensor, name: str, n_molecules: int, at_least: int) -> Tensor:
    rows = torch.as_tensor(indices).to("cpu", copy=True)
    if rows.ndim != 1 or rows.is_floating_point() or rows.dtype == torch.bool:
        raise ValueError(f"{name} must be a vector of row numbers; got {rows.dtype} of shape {tuple(rows.shape)}")
    if len(rows) < at_least:
        raise ValueError(f"{name} needs at least {at_least} molecules; got {len(rows)}")
    if int(rows.min()) < 0 or int(rows.max()) >= n_molecules:
        raise ValueError(f"{name} has rows {int(rows.min())} to {int(rows.max())}; there are {n_molecules} molecules")
    return rows.long()
