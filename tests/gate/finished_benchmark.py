"""A `gate benchmark` folder of numbers chosen by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from gate_model.experiments.leaderboard.board import rows_of, write_board
from gate_model.experiments.leaderboard.jobs import Result, job_file
from gate_model.runs import write_json

TASKS = ("DS", "HV", "mine")
COMMAND = "gate benchmark --tasks all --methods lambda=1 --out elsewhere --seeds 2"


def result(
    method: str,
    seed: int,
    test: Sequence[float],
    curve: Sequence[float] = (0.5, 0.4),
    trajectory: Sequence[Sequence[Sequence[float]]] = (),
) -> Result:
    """RMSE on the selection molecules is twice that on the test molecules."""
    kept = [[list(row) for row in matrix] for matrix in trajectory]
    val = [2 * value for value in test]
    return Result(method, seed, list(test), list(test), val, 1.0, 1.0, 1, list(curve), [], "", kept)


def failed(method: str, seed: int) -> Result:
    return replace(result(method, seed, [], []), failure="the training diverged in epoch 2")


def write_benchmark(folder: Path, results: Sequence[Result], tasks: Sequence[str] = TASKS) -> Path:
    """The files of a finished run; returns `folder`."""
    facts: Mapping[str, object] = {
        "tasks": list(tasks),
        "units": dict.fromkeys(tasks, "K"),
        "source": "numbers by hand",
        "molecules": 9,
        "split": "scaffold",
        "fraction": 1.0,
        "epochs": len(results[0].curve),
        "command": COMMAND,
    }
    for one in results:
        write_json(job_file(folder / "jobs", one.method, one.seed), asdict(one))
    write_json(folder / "config.json", {"command": "benchmark", "tasks": list(tasks)})
    write_board(folder, rows_of(results, list(dict.fromkeys(one.method for one in results))), dict(facts))
    return folder
