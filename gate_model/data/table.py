"""The property table: molecules × tasks, with holes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gate_model.data.tasks import Task

__all__ = ["SET_ASIDE_COLUMNS", "DataError", "PropertyTable"]

SET_ASIDE_COLUMNS = ("row", "column", "value", "reason", "action")


class DataError(ValueError):
    """Data that cannot be used; the message names the file, row or column, what came and what is wanted."""


@dataclass(frozen=True, eq=False)
class PropertyTable:
    """N molecules and T tasks."""

    tasks: tuple[Task, ...]
    smiles: tuple[str, ...]
    """Canonical, each once, `[N]`."""
    labels: NDArray[np.float64]
    """`[N, T]` in the tasks' units, NaN = no label."""
    set_aside: pd.DataFrame
    """What of a user's file is not used as it stood: row (line of the file), column, value, reason, action."""
    source: str
    """Where it comes from."""

    @property
    def abbreviations(self) -> tuple[str, ...]:
        """Of the tasks, in order."""
        return tuple(task.abbreviation for task in self.tasks)

    def with_at_least(self, n_labels: int) -> "PropertyTable":
        """Only the molecules with at least `n_labels` labels; DataError if none has."""
        keep = np.isfinite(self.labels).sum(1) >= n_labels
        if not keep.any():
            raise DataError(f"no molecule of {self.source} has {n_labels} labels among {', '.join(self.abbreviations)}")
        smiles = tuple(s for s, kept in zip(self.smiles, keep, strict=True) if kept)
        return replace(self, smiles=smiles, labels=self.labels[keep])

    def select(self, abbreviations: Sequence[str]) -> "PropertyTable":
        """Only these tasks, in this order, and the molecules that carry a label for one of them."""
        columns = [self.abbreviations.index(name) for name in abbreviations]
        chosen = replace(self, tasks=tuple(self.tasks[c] for c in columns), labels=self.labels[:, columns])
        return chosen.with_at_least(1)

    def to_frame(self) -> pd.DataFrame:
        """SMILES and one column per task."""
        return pd.DataFrame(self.labels, columns=list(self.abbreviations)).assign(smiles=self.smiles)[
            ["smiles", *self.abbreviations]
        ]

    def describe(self) -> pd.DataFrame:
        """One row per task: task, name, unit, kind, labels, min, median, max."""
        rows = []
        for column, task in enumerate(self.tasks):
            values = self.labels[:, column]
            values = values[np.isfinite(values)]
            spread = (values.min(), float(np.median(values)), values.max()) if len(values) else (np.nan,) * 3
            rows.append((task.abbreviation, task.name, task.unit, task.kind, len(values), *spread))
        return pd.DataFrame(rows, columns=["task", "name", "unit", "kind", "labels", "min", "median", "max"])
