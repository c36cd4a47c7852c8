"""A `gate benchmark` folder of numbers chosen by hand."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bilevel_hpo.comparison import Answers, Run, Trained, run_methods
from bilevel_hpo.run_folder import write_json
from gate_model.experiments.leaderboard.table import ENTRIES, methods_of
from gate_model.experiments.record import setting_of
from gate_model.training.settings import Settings

TASKS = ("DS", "HV", "mine")
COMMAND = "gate benchmark --tasks all --methods lambda=1 --out elsewhere --seeds 2"

Matrix = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Made:
    """A training that nobody has done."""

    method: str
    seed: int
    test: Sequence[float]
    curve: Sequence[float] = ()
    trajectory: Sequence[Matrix] = ()
    lambda_: Matrix = ()
    failure: str = ""

    def trained(self, tasks: Sequence[str]) -> Trained:
        """RMSE on the selection molecules is twice that on the test molecules."""
        if self.failure:
            return Trained({}, failure=self.failure)
        return Trained(
            {task: 2 * value for task, value in zip(tasks, self.test, strict=True)},
            dict(zip(tasks, self.test, strict=True)),
            seconds=1.0,
            lambda_=_flat(self.lambda_),
            trajectory=[_flat(matrix) for matrix in self.trajectory],
            curve=[{"epoch": epoch, "selection": value} for epoch, value in enumerate(self.curve, start=1)],
            extra={"test_units": list(self.test)},
        )


def result(
    method: str,
    seed: int,
    test: Sequence[float],
    curve: Sequence[float] = (0.5, 0.4),
    trajectory: Sequence[Matrix] = (),
) -> Made:
    return Made(method, seed, [float(value) for value in test], [float(value) for value in curve], trajectory)


def failed(method: str, seed: int) -> Made:
    return Made(method, seed, [], failure="the training diverged in epoch 2")


def answers_of(folder: Path, made: Iterable[Made], tasks: Sequence[str] = TASKS) -> Answers:
    """The answers of these, whose files are in `folder/jobs` then."""
    known = {(one.method, one.seed): one for one in made}

    def training(run: Run) -> Trained:
        return known[run.method, run.seed].trained(tasks)

    answers: Answers = {}
    for name in dict.fromkeys(method for method, _ in known):
        seeds = sorted(seed for method, seed in known if method == name)
        answers |= run_methods(training, methods_of([ENTRIES[name]], {}), seeds, setting_of(folder, tasks, {}))
    return answers


def write_benchmark(folder: Path, made: Sequence[Made], tasks: Sequence[str] = TASKS) -> Path:
    """The files of a finished run; returns `folder`."""
    answers_of(folder, made, tasks)
    return finish(folder, list(dict.fromkeys(one.method for one in made)), tasks, epochs=len(made[0].curve))


def finish(folder: Path, methods: Sequence[str], tasks: Sequence[str] = TASKS, *, epochs: int) -> Path:
    """What stands beside the jobs."""
    asked: dict[str, Any] = {
        "command": "benchmark",
        "data": "chemicals",
        "source": "numbers by hand",
        "tasks": list(tasks),
    }
    asked |= {"molecules": 9, "split": "scaffold", "fraction": 1.0, "settings": asdict(Settings(epochs=epochs))}
    write_json(folder / "config.json", asked)
    write_json(folder / "results.json", {"command": COMMAND, "methods": [{"name": name} for name in methods]})
    return folder


def _flat(matrix: Matrix) -> list[float]:
    return [float(value) for row in matrix for value in row]
