"""A finished `gate benchmark` as the analyses read it: the results of the methods they need, for the same seeds."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate_model.experiments.leaderboard.jobs import Result, read_result
from gate_model.runs import RunError, read_json

__all__ = ["NAMES", "FinishedRun", "read_run"]

NAMES: Mapping[str, str] = {
    "lambda=1": "λ = 1 (GATE, mean over sources)",
    "lambda=1-sum": "λ = 1, literal sum over sources",
    "direct": "direct (GATE* as published)",
    "budget": "budget (learned)",
    "lambda=0": "λ = 0 (control)",
    "free": "free (learned)",
}
"""The methods of the analyses, as figures and tables call them; in the order in which they are shown."""


@dataclass(frozen=True)
class FinishedRun:
    """What one `gate benchmark` left behind."""

    folder: Path
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    """Those for which every method here has numbers."""
    results: Mapping[str, tuple[Result, ...]]
    """By method, in the order of `NAMES`; one for each seed."""
    about: str
    """Data and training in a sentence; also which seeds are left out, and why."""

    def test(self, method: str) -> NDArray[np.float64]:
        """Test RMSE `[seeds, tasks]`, standardised labels."""
        return np.array([result.test_rmse for result in self.results[method]])

    def validation(self, method: str) -> NDArray[np.float64]:
        """RMSE on the selection molecules at the end `[seeds, tasks]`, standardised labels."""
        return np.array([result.val_rmse for result in self.results[method]])

    def curves(self, method: str) -> NDArray[np.float64]:
        """RMSE on the selection molecules, mean over tasks, after every epoch `[seeds, epochs]`."""
        return np.array([result.curve for result in self.results[method]])


def read_run(folder: Path, needed: Sequence[str], optional: Sequence[str] = (), *, any_of: bool = False) -> FinishedRun:
    """The results of methods in `folder`.

    Args:
        folder: of a finished `gate benchmark`.
        needed: methods that must be there.
        optional: methods that are read if they are there.
        any_of: one of `needed` is enough.

    Raises:
        RunError: no finished benchmark, a method is missing or failed for every seed, or no seed is common to all; the
            message names what is wanted.
    """
    config = read_json(folder / "config.json")
    if config.get("command") != "benchmark":
        raise RunError(f"{folder} holds a run of `gate {config.get('command')}`; one of `gate benchmark` is wanted")
    if not (folder / "results.json").exists():
        raise RunError(f"{folder}: its `gate benchmark` has not finished; go on with the same command and --resume")
    about = read_json(folder / "results.json")
    rows = {row["name"]: row for row in about["methods"]}
    missing = [name for name in needed if name not in rows]
    if missing and (not any_of or len(missing) == len(needed)):
        raise RunError(
            f"{folder} lacks {', '.join(missing)}; this adds what is missing and trains nothing twice:\n"
            f"{_command(about['command'], folder, [*rows, *missing])}"
        )
    names = [name for name in NAMES if name in rows and name in (*needed, *optional)]
    failed = [f"{name}: {failure}" for name in names for failure in rows[name]["failures"]]
    seeds = sorted(set.intersection(*({*rows[name]["seeds"]} for name in names)))
    if not seeds:
        raise RunError(f"{folder}: no seed has numbers of all of {', '.join(names)}; {'; '.join(failed)}")
    results = {name: tuple(read_result(folder / "jobs", name, seed) for seed in seeds) for name in names}
    return FinishedRun(folder, tuple(about["tasks"]), tuple(seeds), results, _about(about, len(seeds), failed))


def _about(about: Mapping[str, Any], seeds: int, failed: Sequence[str]) -> str:
    told = (
        f"{len(about['tasks'])} tasks of {about['source']}, {about['molecules']} molecules, {about['split']} split, "
        f"{seeds} seed{'s' * (seeds != 1)}, {about['epochs']} epochs; RMSE on standardised labels."
    )
    return told + (f" Left out, since a training failed: {'; '.join(failed)}." if failed else "")


def _command(command: str, folder: Path, methods: Sequence[str]) -> str:
    """The `gate benchmark` of the folder with these methods and --resume."""
    words = [word for word in shlex.split(command) if word != "--resume"] or ["gate", "benchmark"]
    for option, value in (("--methods", ",".join(methods)), ("--out", str(folder))):
        words = [word for word in words if not word.startswith(f"{option}=")]
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
        words += [option, value]
    return shlex.join([*words, "--resume"])
