"""The folder of a finished `gate benchmark` run: what was asked for, and the results by method and seed."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gate_model.data.splits import Split
from gate_model.data.table import PropertyTable
from gate_model.experiments.leaderboard.jobs import Result
from gate_model.experiments.leaderboard.splitting import split_of
from gate_model.experiments.leaderboard.table import ENTRIES
from gate_model.runs import RunError, read_json
from gate_model.training import Settings

__all__ = ["BenchmarkRun"]


@dataclass(frozen=True)
class BenchmarkRun:
    """A run of `gate benchmark`.

    Raises:
        RunError: there is no run in `folder`, or one of another command.
    """

    folder: Path

    def __post_init__(self) -> None:
        command = self.config.get("command")
        if command != "benchmark":
            raise RunError(f"{self.folder} holds a run of `gate {command}`; one of `gate benchmark` is wanted")

    @cached_property
    def config(self) -> dict[str, Any]:
        """What was asked for, from config.json."""
        content: dict[str, Any] = read_json(self.folder / "config.json")
        return content

    @property
    def tasks(self) -> tuple[str, ...]:
        """Abbreviations, in the order of λ's rows and columns."""
        return tuple(self.config["tasks"])

    @property
    def settings(self) -> Settings:
        """Of every training; RunError if they are those of another version."""
        try:
            return Settings(**self.config["settings"])
        except TypeError as error:
            raise RunError(f"{self.folder / 'config.json'}: settings of another version: {error}") from error

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods with a result for one seed at least, in the order of the leaderboard's table."""
        return tuple(name for name in ENTRIES if any(self._files(name)))

    @property
    def learned(self) -> tuple[str, ...]:
        """Those of `methods` that learn λ."""
        return tuple(name for name in self.methods if ENTRIES[name].group == "learned")

    def results(self, method: str) -> list[Result]:
        """Of all seeds, in their order; failed trainings are among them.

        Raises:
            RunError: there is none, or a file is damaged.
        """
        found = []
        for path in self._files(method):
            try:
                found.append(Result(**read_json(path)))
            except TypeError as error:
                raise RunError(f"{path} is no result of `gate benchmark`: {error}") from error
        if not found:
            raise RunError(f"{self.folder} has no result of {method}; {self.adding(f'--methods {method}')}")
        return sorted(found, key=lambda result: result.seed)

    def adding(self, options: str) -> str:
        """How to add what is missing, in words."""
        return f"`gate benchmark` with the options of that run and {options} --out {self.folder} --resume adds it"

    def checked(self, table: PropertyTable) -> PropertyTable:
        """`table`; RunError if the run was made with another one."""
        now = {"source": table.source, "tasks": list(table.abbreviations), "molecules": len(table.smiles)}
        different = [
            f"{key} {self.config[key]!r} there, {now[key]!r} here" for key in now if self.config[key] != now[key]
        ]
        if different:
            raise RunError(f"{self.folder} was made with another table: {'; '.join(different)}")
        return table

    def split(self, table: PropertyTable, seed: int) -> Split:
        """The split of `table` that the run had for `seed`."""
        return split_of(table, self.config["split"], self.config["fraction"], seed=seed)

    def _files(self, method: str) -> list[Path]:
        return sorted((self.folder / "jobs").glob(f"{method}-seed*.json"))
