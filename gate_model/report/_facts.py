"""What a run has shown, in numbers; nothing of HTML."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gate_model.report._files import ReportError, RunFiles, numbers, read_run

__all__ = ["Difference", "MethodFacts", "ReportFacts", "report_facts"]


@dataclass(frozen=True, eq=False)
class MethodFacts:
    """One way of choosing λ; S seeds, T tasks. Spreads are sample standard deviations (ddof = 1), NaN for one seed."""

    name: str
    title: str
    group: str
    """learned, constant or search."""
    seeds: tuple[int, ...]
    test_rmse: NDArray[np.float64]
    """Standardised labels, `[S, T]`."""
    test_rmse_units: NDArray[np.float64]
    """The tasks' own units, `[S, T]`."""
    val_rmse: NDArray[np.float64]
    """Selection molecules, standardised labels, `[S, T]`."""
    lambda_: NDArray[np.float64]
    """λ[s, t, u] is λ_{u→t} of seed s in units of the direct path, `[S, T, T]`."""
    wall_s: float
    """Seconds for the answer of one seed."""
    training_runs: int
    """Trainings for the answer of one seed."""

    @cached_property
    def seed_rmse(self) -> NDArray[np.float64]:
        """Mean over the tasks, `[S]`."""
        return np.asarray(np.nanmean(self.test_rmse, axis=1))

    @property
    def rmse(self) -> float:
        """Mean over tasks, then over seeds."""
        return float(self.seed_rmse.mean())

    @property
    def rmse_std(self) -> float:
        """Spread over the seeds of the mean over tasks."""
        return _std(self.seed_rmse)


@dataclass(frozen=True)
class Difference:
    """A method against another, on the seeds that both have: the same splits, so differences are taken seed by seed."""

    method: str
    other: str
    absolute: float
    """RMSE of `method` minus RMSE of `other`, mean over tasks and seeds; negative = `method` is better."""
    relative: float
    """The same, divided by the mean RMSE of `other`."""
    spread: float
    """Standard deviation over seeds of the difference; NaN for one seed."""
    seeds: int
    seeds_better: int
    ratio: float
    """Mean over tasks and seeds of RMSE(task, seed) / RMSE of `other`(task, seed)."""
    ratio_spread: float
    """Standard deviation over seeds of that ratio's mean over tasks; NaN for one seed."""
    tasks: int
    tasks_better: int
    """Tasks whose RMSE, averaged over the seeds, is lower."""

    @property
    def within_spread(self) -> bool | None:
        """Is the difference at most the spread of the seeds? None for one seed: nobody can tell."""
        return None if np.isnan(self.spread) else bool(abs(self.absolute) <= self.spread)


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """Everything that the page says and draws."""

    kind: str
    """comparison or training."""
    tasks: tuple[str, ...]
    task_info: Mapping[str, Mapping[str, Any]]
    data: Mapping[str, Any]
    split: Mapping[str, Any]
    methods: tuple[MethodFacts, ...]
    command: str
    versions: Mapping[str, str]
    parameters: tuple[str, ...]
    """λ of the search; empty without one."""
    files: RunFiles

    def method(self, name: str) -> MethodFacts | None:
        """The method called `name`, if it was run."""
        return next((method for method in self.methods if method.name == name), None)

    @property
    def best(self) -> MethodFacts:
        """The method with the lowest mean test RMSE."""
        return min(self.methods, key=lambda method: method.rmse)

    @property
    def best_learned(self) -> MethodFacts | None:
        """The learned method with the lowest mean test RMSE."""
        return min(
            (method for method in self.methods if method.group == "learned"),
            key=lambda method: method.rmse,
            default=None,
        )

    def difference(self, method: MethodFacts, other: MethodFacts) -> Difference | None:
        """`method` against `other`; None if they share no seed."""
        shared = [seed for seed in method.seeds if seed in other.seeds]
        if not shared:
            return None
        mine = method.test_rmse[[method.seeds.index(seed) for seed in shared]]
        theirs = other.test_rmse[[other.seeds.index(seed) for seed in shared]]
        by_seed = np.nanmean(mine, axis=1) - np.nanmean(theirs, axis=1)
        ratios = np.nanmean(mine / theirs, axis=1)
        return Difference(
            method=method.name,
            other=other.name,
            absolute=float(by_seed.mean()),
            relative=float(by_seed.mean() / np.nanmean(theirs, axis=1).mean()),
            spread=_std(by_seed),
            seeds=len(shared),
            seeds_better=int((by_seed < 0).sum()),
            ratio=float(ratios.mean()),
            ratio_spread=_std(ratios),
            tasks=len(self.tasks),
            tasks_better=int((mine.mean(axis=0) < theirs.mean(axis=0)).sum()),
        )

    def mean_ratios(self, method: MethodFacts) -> pd.DataFrame:
        """λ averaged over the seeds, index = targets, columns = sources."""
        return pd.DataFrame(method.lambda_.mean(axis=0), index=list(self.tasks), columns=list(self.tasks))

    def pair(self, parameter: str) -> tuple[str, str]:
        """The two tasks of a symmetric λ such as "DS|HV"."""
        for a, b in combinations(self.tasks, 2):
            if parameter == f"{a}|{b}":
                return a, b
        raise ReportError(f"results.json: search parameter {parameter!r} is no pair TASK|TASK of {list(self.tasks)}")


def report_facts(folder: Path) -> ReportFacts:
    """The facts of a run folder.

    Raises:
        ReportError: a file is missing or damaged.
    """
    folder = Path(folder)
    files = read_run(folder)
    results = files.results
    tasks = tuple(results["tasks"])
    where = folder / "results.json"
    facts = ReportFacts(
        kind=results["kind"],
        tasks=tasks,
        task_info=results["task_info"],
        data=results["data"],
        split=results["split"],
        methods=tuple(_method(method, tasks, f"{where}: method {method['name']!r}") for method in results["methods"]),
        command=results["command"],
        versions=results["versions"],
        parameters=tuple((results.get("search") or {}).get("parameters", ())),
        files=files,
    )
    for parameter in facts.parameters:
        facts.pair(parameter)
    return facts


def _method(found: dict[str, Any], tasks: tuple[str, ...], where: str) -> MethodFacts:
    seeds, T = tuple(found["seeds"]), len(tasks)

    def per_task(key: str) -> NDArray[np.float64]:
        missing = [task for task in tasks if task not in found[key]]
        if missing:
            raise ReportError(f"{where}, {key} lacks the tasks {missing}; a list of {len(seeds)} for each is wanted")
        columns = [numbers(found[key][task], (len(seeds),), f"{where}, {key}[{task!r}]") for task in tasks]
        return np.stack(columns, axis=1)

    return MethodFacts(
        name=found["name"],
        title=found["title"],
        group=found["group"],
        seeds=seeds,
        test_rmse=per_task("test_rmse"),
        test_rmse_units=per_task("test_rmse_units"),
        val_rmse=per_task("val_rmse"),
        lambda_=numbers(found["lambda"].get("per_seed"), (len(seeds), T, T), f"{where}, lambda per_seed"),
        wall_s=float(found["wall_s"]),
        training_runs=found["training_runs"],
    )


def _std(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
