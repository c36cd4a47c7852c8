"""The property table: labels of N molecules and T tasks, many of them missing, and the source of each label."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gate_model.data.tasks import CATALOGUE, Kind, Task, summary

__all__ = ["SET_ASIDE_COLUMNS", "DataError", "Origins", "PropertyTable"]

SET_ASIDE_COLUMNS = ("row", "column", "value", "reason", "action")


class DataError(ValueError):
    """The data cannot be used. The message names the file, row or column, what it holds and what it must be."""


@dataclass(frozen=True, eq=False)
class Origins:
    """The source of every label."""

    names: tuple[str, ...]
    """Names of the sources."""
    kinds: tuple[Kind, ...]
    """The kind of each source."""
    codes: NDArray[np.int16]
    """Source of each label `[N, T]` as its place in `names`; -1 = no label."""

    @classmethod
    def single(cls, name: str, kind: Kind, labels: NDArray[np.float64]) -> "Origins":
        """Return the origins of `labels` `[N, T]` that all have the same source."""
        return cls((name,), (kind,), np.where(np.isfinite(labels), 0, -1).astype(np.int16))

    def places(self, kind: Kind) -> list[int]:
        """Return the codes of the sources of this kind."""
        return [place for place, own in enumerate(self.kinds) if own == kind]

    def kind_of(self, column: int) -> Kind:
        """Return the kind of the labels of one task."""
        return summary(self.kinds[code] for code in np.unique(self.codes[:, column]) if code >= 0)


@dataclass(frozen=True, eq=False)
class PropertyTable:
    """The labels of N molecules for T tasks."""

    tasks: tuple[Task, ...]
    smiles: tuple[str, ...]
    """Canonical SMILES `[N]`, each once."""
    labels: NDArray[np.float64]
    """Labels `[N, T]` in the tasks' units, NaN = no label."""
    set_aside: pd.DataFrame
    """The rows, cells and columns of a user's file that were left out or changed. Columns: row (line of the file),
    column, value, reason, action."""
    source: str
    """Where the table comes from."""
    origins: Origins | None = None
    """The source of every label; None: all labels come from `source`, a user's file."""

    @property
    def abbreviations(self) -> tuple[str, ...]:
        """Abbreviations of the tasks, in order."""
        return tuple(task.abbreviation for task in self.tasks)

    @property
    def provenance(self) -> pd.DataFrame:
        """One row for each label, sorted by molecule and task. Columns: smiles, task, value, source, kind."""
        origins = self.origins or Origins.single(self.source, "user", self.labels)
        rows, columns = np.nonzero(np.isfinite(self.labels))
        codes = origins.codes[rows, columns]
        return pd.DataFrame(
            {
                "smiles": np.array(self.smiles, dtype=object)[rows],
                "task": np.array(self.abbreviations, dtype=object)[columns],
                "value": self.labels[rows, columns],
                "source": np.array(origins.names, dtype=object)[codes],
                "kind": np.array(origins.kinds, dtype=object)[codes],
            }
        )

    def with_at_least(self, n_labels: int) -> "PropertyTable":
        """Return the table of the molecules with at least `n_labels` labels.

        Raises:
            DataError: no molecule has so many labels.
        """
        keep = np.isfinite(self.labels).sum(1) >= n_labels
        if not keep.any():
            raise DataError(f"no molecule of {self.source} has {n_labels} labels among {', '.join(self.abbreviations)}")
        smiles = tuple(s for s, kept in zip(self.smiles, keep, strict=True) if kept)
        origins = self.origins and replace(self.origins, codes=self.origins.codes[keep])
        return replace(self, smiles=smiles, labels=self.labels[keep], origins=origins)

    def select(self, abbreviations: Sequence[str]) -> "PropertyTable":
        """Return the table of these tasks, in this order, with the molecules that carry a label of at least one."""
        columns = [self.abbreviations.index(name) for name in abbreviations]
        origins = self.origins and replace(self.origins, codes=self.origins.codes[:, columns])
        tasks = tuple(self.tasks[c] for c in columns)
        return replace(self, tasks=tasks, labels=self.labels[:, columns], origins=origins).with_at_least(1)

    def to_frame(self) -> pd.DataFrame:
        """Return a frame with the SMILES and one column for each task."""
        return pd.DataFrame(self.labels, columns=list(self.abbreviations)).assign(smiles=self.smiles)[
            ["smiles", *self.abbreviations]
        ]

    def describe(self) -> pd.DataFrame:
        """Return one row for each task.

        Columns: task, name, unit, kind, labels (their number), min, median, max, derived (number of labels of that
        kind), paper (number of labels in the paper's Table 3, or NaN).
        """
        derived = [0] * len(self.tasks)
        if self.origins:
            derived = list(np.isin(self.origins.codes, self.origins.places("derived")).sum(0))
        rows = []
        for column, task in enumerate(self.tasks):
            values = self.labels[:, column]
            values = values[np.isfinite(values)]
            spread = (values.min(), float(np.median(values)), values.max()) if len(values) else (np.nan,) * 3
            paper = CATALOGUE[task.abbreviation].paper if task.abbreviation in CATALOGUE else None
            facts = (task.abbreviation, task.name, task.unit, task.kind, len(values), *spread)
            rows.append((*facts, derived[column], paper or np.nan))
        columns = ["task", "name", "unit", "kind", "labels", "min", "median", "max", "derived", "paper"]
        return pd.DataFrame(rows, columns=columns)

    def overlaps(self) -> pd.DataFrame:
        """Return the number of molecules with both labels `[T, T]`; the diagonal holds the number of labels."""
        present = np.isfinite(self.labels).astype(np.int64)
        names = pd.Index(self.abbreviations, name="task")
        return pd.DataFrame(present.T @ present, index=names, columns=list(names))
