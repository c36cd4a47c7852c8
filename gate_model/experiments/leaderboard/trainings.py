"""The training function of `gate benchmark`: it trains the method that a run names, and computes its RMSE."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bilevel_hpo.comparison import Run, Trained
from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard._answer import Answer, Assignment
from gate_model.experiments.leaderboard._gate import GateTraining
from gate_model.experiments.leaderboard.table import ENTRIES
from gate_model.model.evaluation import rmse
from gate_model.training.methods import constant
from gate_model.training.settings import Settings

__all__ = ["BenchmarkTrainings"]


@dataclass(frozen=True)
class BenchmarkTrainings:
    """Trains the method that a run names.

    Args:
        datasets: prepared data by seed.
        settings: hyperparameters of the trainings of GATE; some methods change them, as their names say.
        python: path of a Python interpreter that can import chemprop.
    """

    datasets: Mapping[int, PreparedData]
    settings: Settings
    python: Path | None = None

    def __call__(self, run: Run) -> Trained:
        """Train, and return the record; the test molecules are used only if the run asks for them."""
        data, entry = self.datasets[run.seed], ENTRIES[run.method]
        runner = entry.run
        if runner is None:  # a search: the run has the λ of one point
            lambda_: Any = run.weights().tolist()
            runner = GateTraining(constant(run.method, "", tuple(tuple(row) for row in lambda_)))
        answer = runner(Assignment(data, self.settings, run.seed, self.python, run.options.get("seconds")))
        return _scored(data, answer, test=run.wants_test)


def _scored(data: PreparedData, answer: Answer, *, test: bool) -> Trained:
    def score(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return rmse(answer.predict(rows), data.labels[rows])

    def by_task(values: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(data.abbreviations, values.tolist(), strict=True))

    found = score(data.split.test) if test else None
    return Trained(
        by_task(score(data.split.selection)),
        {} if found is None else by_task(found),
        seconds=answer.seconds,
        epochs=len(answer.curve),
        training_runs=answer.training_runs,
        lambda_=_rounded(answer.lambda_, 5),
        trajectory=_rounded(answer.trajectory, 4),
        curve=answer.curve,
        extra={} if found is None else {"test_units": (found * data.standardizer.std).tolist()},
    )


def _rounded(lambda_: Tensor | None, digits: int) -> list[Any]:
    """Return λ `[..., T, T]`, rounded, as lists `[..., T²]`."""
    return [] if lambda_ is None else np.round(lambda_.double().flatten(-2).numpy(), digits).tolist()
