"""What a public table bought for the columns of a user's file: a model of the file alone against a joined one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gate_model.data.prepared import PreparedData
from gate_model.data.table import PropertyTable
from gate_model.data.tasks import Task
from gate_model.model.evaluation import root_mean_square
from gate_model.predictor.saved_model import SavedModel

__all__ = ["Bought", "bootstrap", "bought", "bought_frame", "errors"]

Array = NDArray[np.float64]

_RESAMPLED = 10_000
_AT_ONCE = 2_000_000
LEVEL = 0.95
"""Of the intervals."""


@dataclass(frozen=True)
class Bought:
    """One column of the file, predicted by both models; errors are RMSE in the unit of the column's labels."""

    task: Task
    labels: tuple[int, int, int]
    """Of the file's training (with validation), selection and test molecules."""
    selection_alone: float
    selection_joined: float
    test_alone: float
    test_joined: float
    low: float
    """Interval of `difference` with other test molecules, see `bootstrap`; NaN for one test molecule."""
    high: float

    @property
    def difference(self) -> float:
        """By how much the joined model's test RMSE is lower."""
        return self.test_alone - self.test_joined

    @property
    def joined(self) -> bool:
        """Whether the joined model predicts this column: its error on the selection molecules is lower."""
        return self.selection_joined < self.selection_alone

    @property
    def sentence(self) -> str:
        """What the user should know."""
        between = "no interval" if np.isnan(self.low) else f"{self.low:.3g} to {self.high:.3g}"
        minus = "no interval" if np.isnan(self.low) else f"{-self.high:.3g} to {-self.low:.3g}"
        unit = f" {self.task.unit}" if self.task.unit not in ("", "1") else ""
        sure = "" if self.low > 0 or self.high < 0 else " The interval holds 0: this may be chance."
        if np.isnan(self.low):
            sure = " One test molecule says nothing about others."
        if self.joined and self.difference > 0:
            said = f"the public table bought you {self.difference:.3g}{unit} ({between})"
        elif self.joined:
            said = (
                "the selection molecules chose the joined model, but on the test molecules the public table cost you "
                f"{-self.difference:.3g}{unit} ({minus})"
            )
        elif self.difference <= 0:
            said, sure = "the public table did not help: keep your own", ""
        else:
            said = (
                "the public table did not help on the selection molecules: keep your own, although on the test "
                f"molecules it would have bought you {self.difference:.3g}{unit} ({between})"
            )
        both = f"Test RMSE {self.test_alone:.4g} alone, {self.test_joined:.4g} joined, {self.labels[2]} molecules."
        return f"{self.task.abbreviation}: {said}. {both}{sure}"


def errors(model: SavedModel, data: PreparedData, smiles: Sequence[str], labels: Array, names: Sequence[str]) -> Array:
    """Prediction minus label, in the units of the labels, `[n, C]`; NaN where there is no label.

    Args:
        model: of which every column is a task.
        data: prepared data of the model's tasks, which hold the molecules.
        smiles: n canonical SMILES.
        labels: `[n, C]` in the tasks' units, NaN = none.
        names: of the C columns.
    """
    place = {each: row for row, each in enumerate(data.table.smiles)}
    x, _ = data.some(np.array([place[each] for each in smiles], dtype=np.int64))
    mean, _ = model.spread.predict(model.members, x)
    columns = [data.abbreviations.index(name) for name in names]
    return np.asarray(model.standardizer.inverse(mean)[:, columns] - labels)


def bootstrap(alone: Array, joined: Array, *, seed: int) -> tuple[float, float]:
    """A 95 % interval of RMSE(alone) − RMSE(joined), by drawing molecules with replacement, the same for both.

    The percentile method (Efron, 1979) with 10,000 draws. It says what other test molecules of the same kind would
    give, not what another training would.

    Args:
        alone: errors `[n]` of one model.
        joined: errors `[n]` of the other, for the same molecules.
        seed: of the draws.

    Returns:
        Both ends; NaN for fewer than two molecules.
    """
    n = len(alone)
    if n < 2:
        return float("nan"), float("nan")
    rng, squares = np.random.default_rng(seed), np.stack([alone, joined]) ** 2
    step = max(1, _AT_ONCE // n)
    parts = []
    for start in range(0, _RESAMPLED, step):
        drawn = rng.integers(n, size=(min(step, _RESAMPLED - start), n))
        a, j = np.sqrt(squares[:, drawn].mean(2))
        parts.append(a - j)
    low, high = np.quantile(np.concatenate(parts), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bought(
    mine: PropertyTable,
    labels: Sequence[tuple[int, int, int]],
    selection: tuple[Array, Array],
    test: tuple[Array, Array],
    *,
    seed: int,
) -> tuple[Bought, ...]:
    """For each column of the file, the errors of both models.

    Args:
        mine: the file's table, C columns.
        labels: see `Bought`, for each column.
        selection: errors `[n, C]` of the model alone and of the joined one on the file's selection molecules; NaN = no
            label.
        test: the same on the file's test molecules.
        seed: of the intervals.
    """
    found = []
    for column, task in enumerate(mine.tasks):
        known = np.isfinite(test[0][:, column])
        interval = bootstrap(test[0][known, column], test[1][known, column], seed=seed)
        columns = (each[:, column] for each in (*selection, *test))
        a, b, c, d = (root_mean_square(each[np.isfinite(each)]) for each in columns)
        found.append(Bought(task, labels[column], a, b, c, d, *interval))
    return tuple(found)


def bought_frame(found: Sequence[Bought]) -> pd.DataFrame:
    """One row per column of the file, for with_public.csv."""
    return pd.DataFrame(
        {
            "column": [each.task.abbreviation for each in found],
            "unit": [each.task.unit for each in found],
            "training_labels": [each.labels[0] for each in found],
            "selection_labels": [each.labels[1] for each in found],
            "test_labels": [each.labels[2] for each in found],
            "selection_alone": [each.selection_alone for each in found],
            "selection_joined": [each.selection_joined for each in found],
            "test_alone": [each.test_alone for each in found],
            "test_joined": [each.test_joined for each in found],
            "bought": [each.difference for each in found],
            "low": [each.low for each in found],
            "high": [each.high for each in found],
            "chosen": ["joined" if each.joined else "alone" for each in found],
            "sentence": [each.sentence for each in found],
        }
    )
