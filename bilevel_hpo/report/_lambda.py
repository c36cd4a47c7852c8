"""λ of a method in its record: a matrix of targets × sources, or one number for each label."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo.report._files import ReportError, numbers

__all__ = ["LambdaFacts", "lambda_facts", "sample_std"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LambdaFacts:
    """λ of one method, for S seeds and N numbers."""

    names: tuple[str, ...]
    """The names of the λ, `[N]`; for a matrix "source → target", without those from a task to itself."""
    values: Array
    """`[S, N]`."""
    targets: tuple[str, ...] = ()
    """The targets of a matrix; empty for a vector."""
    sources: tuple[str, ...] = ()
    matrix: Array | None = None
    """`[S, targets, sources]`; entry [t, u] is λ_{u→t}. None for a vector."""

    @cached_property
    def mean(self) -> Array:
        """The mean over the seeds, `[N]`."""
        return np.asarray(self.values.mean(axis=0))

    @cached_property
    def std(self) -> Array:
        """The standard deviation over the seeds, ddof = 1, `[N]`; NaN for one seed."""
        return sample_std(self.values)

    @property
    def square(self) -> bool:
        """Whether it is a matrix whose targets are its sources."""
        return bool(self.targets) and self.targets == self.sources

    @property
    def symmetric(self) -> bool:
        """Whether it is a matrix with the same λ in both directions, in every seed."""
        return self.square and self.matrix is not None and np.allclose(self.matrix, self.matrix.transpose(0, 2, 1))

    @property
    def tied(self) -> bool:
        """Whether all λ are the same number."""
        return len(self.names) > 1 and bool((np.ptp(self.values, axis=1) == 0).all())

    def mean_frame(self) -> pd.DataFrame:
        """Returns the matrix averaged over the seeds, with targets as index and sources as columns."""
        assert self.matrix is not None
        return pd.DataFrame(self.matrix.mean(axis=0), index=list(self.targets), columns=list(self.sources))

    def std_frame(self) -> pd.DataFrame | None:
        """Returns its standard deviation over the seeds; None for one seed."""
        if self.matrix is None or len(self.matrix) < 2:
            return None
        return pd.DataFrame(sample_std(self.matrix), index=list(self.targets), columns=list(self.sources))


def lambda_facts(found: Any, seeds: int, where: str) -> LambdaFacts | None:
    """Reads λ from a method's `lambda`; None if it has none.

    Raises:
        ReportError: it is neither a matrix nor a vector, a name occurs twice, or the numbers have another shape.
    """
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise ReportError(f"{where} must be an object or null; got {found!r}")
    if "targets" in found:
        targets, sources = _names(found, "targets", where), _names(found, "sources", where)
        matrix = numbers(found.get("per_seed"), (seeds, len(targets), len(sources)), f"{where} per_seed")
        off = np.array(targets)[:, None] != np.array(sources)[None, :]
        names = tuple(f"{sources[s]} → {targets[t]}" for t, s in np.argwhere(off))
        return LambdaFacts(names, matrix[:, off], targets, sources, matrix)
    labels = _names(found, "labels", where)
    return LambdaFacts(labels, numbers(found.get("per_seed"), (seeds, len(labels)), f"{where} per_seed"))


def _names(found: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    names = found.get(key)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ReportError(
            f"{where}: {key} must be a list of names (targets and sources for a "
            f"matrix, labels for a vector); got {names!r}"
        )
    if len(set(names)) < len(names):
        twice = [name for name, times in Counter(names).items() if times > 1]
        raise ReportError(f"{where}: {key} names {twice[:5]} more than once")
    return tuple(names)


def sample_std(values: Array) -> Array:
    """Returns the standard deviation over the first axis, ddof = 1; NaN if it has one entry."""
    return np.asarray(values.std(axis=0, ddof=1)) if len(values) > 1 else np.full(values.shape[1:], np.nan)
