"""The folder of a finished `gate benchmark`: its options, its results, and the command that adds missing results."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilevel_hpo.comparison import Trained, read_trained
from bilevel_hpo.run_folder import RunError, read_json
from gate_model.data.request import DataRequest
from gate_model.data.splits import Split
from gate_model.data.table import PropertyTable
from gate_model.experiments.leaderboard.table import ENTRIES
from gate_model.training.settings import Settings

__all__ = ["BenchmarkRun", "Result"]


Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Result:
    """The numbers of one method and seed, for T tasks."""

    method: str
    seed: int
    test_rmse: Array
    """Test RMSE on standardised labels `[T]`; empty if the training failed."""
    val_rmse: Array
    """RMSE on the selection molecules and standardised labels `[T]`."""
    curve: Array
    """RMSE on the selection molecules after every epoch, mean over tasks."""
    lambda_: Array
    """λ in units of the direct path `[1, T, T]`; `[0, T, T]` if the method has none."""
    trajectory: Array
    """`lambda_` at the start and after every epoch `[epochs + 1, T, T]`; `[0, T, T]` if λ is not learned."""
    failure: str = ""
    """Why the training failed; empty if it did not."""


@dataclass(frozen=True)
class BenchmarkRun:
    """A finished run of `gate benchmark`.

    Raises:
        RunError: `folder` holds no run, a run of another command or version, or a run that has not finished.
    """

    folder: Path

    def __post_init__(self) -> None:
        command = self.config.get("command")
        if command != "benchmark":
            raise RunError(f"{self.folder} holds a run of `gate {command}`; it must be one of `gate benchmark`")
        different = self.config.get("settings", {}).keys() ^ {field.name for field in fields(Settings)}
        if different:
            raise RunError(f"{self._config}: settings of another version: {', '.join(sorted(different))}")
        if not (self.folder / "results.json").exists():
            raise RunError(f"{self.folder}: its `gate benchmark` has not finished; repeat the command with --resume")
        about = read_json(self.folder / "results.json")
        if any("test_rmse" in method for method in about["methods"]):
            version = about.get("versions", {}).get("bilevel-hpo", "of an earlier version")
            raise RunError(
                f"{self.folder} was written by bilevel-hpo {version} in a format that is no longer read; run it again "
                f"into a new folder: {about['command']}"
            )

    @cached_property
    def config(self) -> dict[str, Any]:
        """The options of the run, from config.json."""
        content: dict[str, Any] = read_json(self._config)
        return content

    @property
    def tasks(self) -> tuple[str, ...]:
        """Abbreviations of the tasks, in the order of the rows and columns of λ."""
        return tuple(self.config["tasks"])

    @property
    def settings(self) -> Settings:
        """Hyperparameters of the trainings; some methods change them, as their names say."""
        return Settings.from_dict(self.config["settings"])

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods with a result for at least one seed, in the order of the leaderboard's table."""
        return tuple(name for name in ENTRIES if self._seeds(name))

    @property
    def learned(self) -> tuple[str, ...]:
        """The methods that learn λ."""
        return tuple(name for name in self.methods if ENTRIES[name].group == "learned")

    def results(self, method: str) -> tuple[Result, ...]:
        """Return the results of one method for all seeds, in their order, with those of failed trainings."""
        return tuple(
            _result(method, seed, read_trained(self.folder / "jobs", method, seed), len(self.tasks))
            for seed in self._seeds(method)
        )

    def lacks(self, what: str, *, methods: Sequence[str] = (), seeds: int | None = None) -> RunError:
        """Return an error that says the run lacks `what`; its message ends with the command that adds it."""
        about = read_json(self.folder / "results.json")
        words = [word for word in shlex.split(about["command"]) if word != "--resume"]
        options = {"--methods": ",".join([*(row["name"] for row in about["methods"]), *methods])}
        options |= {} if seeds is None else {"--seeds": str(seeds)}
        for option, value in (options | {"--out": str(self.folder)}).items():
            words = [word for word in words if not word.startswith(f"{option}=")]
            if option in words:
                at = words.index(option)
                del words[at : at + 2]
            words += [option, value]
        command = shlex.join([*words, "--resume"])
        return RunError(f"{self.folder} lacks {what}; this adds it and trains nothing twice:\n{command}")

    @property
    def data(self) -> DataRequest:
        """The data that the run used."""
        return DataRequest.from_identity(self.config)

    def table(self) -> PropertyTable:
        """Load the molecules and labels of the run again.

        Raises:
            RunError: they are not the same as in the run.
        """
        return self.checked(self.data.load())

    def checked(self, table: PropertyTable) -> PropertyTable:
        """Return `table` if the run was made with it.

        Raises:
            RunError: the run was made with another table.
        """
        now = {"source": table.source, "tasks": list(table.abbreviations), "molecules": len(table.smiles)}
        different = [
            f"{key} {self.config[key]!r} there, {now[key]!r} here" for key in now if self.config[key] != now[key]
        ]
        if different:
            raise RunError(f"{self.folder} was made with another table: {'; '.join(different)}")
        return table

    def split(self, table: PropertyTable, seed: int) -> Split:
        """Return the split of `table` that the run had for `seed`."""
        return self.data.split(table, seed)

    @property
    def _config(self) -> Path:
        return self.folder / "config.json"

    def _seeds(self, method: str) -> list[int]:
        """Return the results of the jobs that have finished."""
        files = (self.folder / "jobs").glob(f"{method}-seed*-0.json")
        return sorted(int(file.stem.removesuffix("-0").rpartition("-seed")[2]) for file in files)


def _result(method: str, seed: int, trained: Trained, tasks: int) -> Result:
    return Result(
        method,
        seed,
        np.array(list(trained.test.values())),
        np.array(list(trained.selection.values())),
        np.array([row["selection"] for row in trained.curve]),
        np.array(trained.lambda_).reshape(-1, tasks, tasks),
        np.array(trained.trajectory).reshape(-1, tasks, tasks),
        trained.failure,
    )
