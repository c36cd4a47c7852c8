"""A `gate benchmark` folder of numbers chosen by hand."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bilevel_hpo.run_folder import write_json
from gate_model.experiments.leaderboard.board import rows_of, write_board
from gate_model.experiments.leaderboard.jobs import Result, job_file
from gate_model.training import Settings

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
    settings = Settings(epochs=len(results[0].curve))
    asked = {"command": "benchmark", "data": "chemicals", "source": "numbers by hand", "tasks": list(tasks)}
    asked |= {"molecules": 9, "split": "scaffold", "fraction": 1.0}
    facts = {**asked, "command": COMMAND, "units": dict.fromkeys(tasks, "K"), "epochs": settings.epochs}
    for one in results:
        write_json(job_file(folder / "jobs", one.method, one.seed), asdict(one))
    write_json(folder / "config.json", {**asked, "settings": asdict(settings)})
    write_board(folder, rows_of(results, list(dict.fromkeys(one.method for one in results))), facts)
    return folder
