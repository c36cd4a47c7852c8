"""One job is one method and one seed; it ends as one small JSON file."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bilevel_hpo import NonFiniteError
from bilevel_hpo.run_folder import RunError, read_json, write_json
from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard._answer import Answer, Assignment
from gate_model.experiments.leaderboard.table import ENTRIES, Entry
from gate_model.training import Settings, rmse

__all__ = ["Result", "job_file", "read_result", "run_job"]


@dataclass(frozen=True)
class Result:
    """Numbers of one method and seed."""

    method: str
    seed: int
    test_rmse: list[float]
    """Per task, standardised labels; empty if the training failed."""
    test_rmse_units: list[float]
    """Per task, in the task's own unit."""
    val_rmse: list[float]
    """Per task, on the selection molecules, standardised labels."""
    seconds: float
    """Wall seconds of its trainings, one thread."""
    cpu_seconds: float
    """Processor seconds of the whole job, evaluation and all."""
    training_runs: int
    curve: list[float]
    """RMSE on the selection molecules after every epoch."""
    lambda_: list[list[float]]
    """In units of the direct path `[targets][sources]`; empty where the method has none."""
    failure: str = ""
    """Why there are no numbers."""
    trajectory: list[list[list[float]]] = field(default_factory=list)
    """`lambda_` at the start and after every epoch `[epochs + 1][targets][sources]`; empty where none is learned, and
    in files from before it was kept."""


def run_job(
    entry: Entry,
    data: PreparedData,
    settings: Settings,
    *,
    seed: int,
    folder: Path,
    python: Path | None = None,
    tick: Callable[[], object] = lambda: None,
) -> Result:
    """Train, choose, look at the test molecules once, and write the file.

    A training that diverges is a result too, with `failure`; anything else that goes wrong is raised.
    """
    limit = None
    if entry.waits_for is not None:
        limit = read_result(folder, ENTRIES[entry.waits_for].name, seed).seconds
    started = _cpu_seconds()
    try:
        answer = entry.run(Assignment(data, settings, seed, folder, python, limit, tick))
    except NonFiniteError as error:
        result = _failed(entry, seed, str(error))
    except ValueError as error:
        if "diverged" not in str(error):
            raise
        result = _failed(entry, seed, str(error))
    else:
        result = _scored(entry, data, answer, seed, _cpu_seconds() - started)
    write_json(job_file(folder, entry.name, seed), asdict(result))
    tick()
    return result


def job_file(folder: Path, method: str, seed: int) -> Path:
    """Where the result of a job stands, once it has ended."""
    return folder / f"{method}-seed{seed}.json"


def read_result(folder: Path, method: str, seed: int) -> Result:
    """Of a job that has ended; RunError if its file is missing or damaged."""
    path = job_file(folder, method, seed)
    try:
        return Result(**read_json(path))
    except TypeError as error:
        raise RunError(f"{path} is no result of `gate benchmark`: {error}") from error


def _scored(entry: Entry, data: PreparedData, answer: Answer, seed: int, cpu_seconds: float) -> Result:
    def score(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return rmse(answer.predict(rows), data.labels[rows])

    test = score(data.split.test)
    return Result(
        method=entry.name,
        seed=seed,
        test_rmse=test.tolist(),
        test_rmse_units=(test * data.standardizer.std).tolist(),
        val_rmse=score(data.split.selection).tolist(),
        seconds=answer.seconds,
        cpu_seconds=cpu_seconds,
        training_runs=answer.training_runs,
        curve=answer.curve,
        lambda_=_rounded(answer.lambda_, 5),
        trajectory=_rounded(answer.trajectory, 4),
    )


def _rounded(lambda_: Tensor | None, digits: int) -> list[Any]:
    return [] if lambda_ is None else np.round(lambda_.double().numpy(), digits).tolist()


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _failed(entry: Entry, seed: int, why: str) -> Result:
    return Result(entry.name, seed, [], [], [], 0.0, 0.0, 1, [], [], why)
