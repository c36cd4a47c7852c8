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

from gate_model.methods import SHARED
from gate_model.outer_steps import Verdict
from gate_model.report._certainty import Certainty, certainty
from gate_model.report._files import ReportError, RunFiles, check, numbers, read_run

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
    verdicts: tuple[Verdict | None, ...]
    """Of each seed: whether its hypergradients say anything about λ; None where they were not asked."""

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


@dataclass(frozen=True, eq=False)
class Difference:
    """A method against another on the S seeds that both have: the same splits, so differences are taken seed by seed.

    Negative = `method` is better.
    """

    method: str
    other: str
    by_seed: NDArray[np.float64]
    """RMSE of `method` minus RMSE of `other`, mean over the tasks, `[S]`."""
    reference: float
    """RMSE of `other`, mean over tasks and seeds."""
    by_task: NDArray[np.float64]
    """Mean over the seeds of RMSE / RMSE of `other` for each task, `[T]`; NaN where the task has no test label."""
    ratio: float
    """Mean over tasks and seeds of RMSE / RMSE of `other`."""
    ratio_spread: float
    """Standard deviation over seeds of that ratio's mean over tasks; NaN for one seed."""
    tasks_better: int
    """Tasks whose RMSE, averaged over the seeds, is lower."""
    certainty: Certainty

    @property
    def absolute(self) -> float:
        """Mean over the seeds."""
        return float(self.by_seed.mean())

    @property
    def relative(self) -> float:
        """As a share of the mean RMSE of `other`."""
        return self.absolute / self.reference

    @property
    def interval(self) -> tuple[float, float]:
        """Where `relative` lies with other seeds, 95 %; NaN for one seed."""
        return self.certainty.low / self.reference, self.certainty.high / self.reference

    @property
    def seeds(self) -> int:
        """Number of shared seeds."""
        return len(self.by_seed)

    @property
    def tasks(self) -> int:
        """Number of tasks with test labels."""
        return int(np.isfinite(self.by_task).sum())


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

    @property
    def shared(self) -> bool:
        """Did the search give all pairs the same λ?"""
        return self.parameters == (SHARED,)

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
        ratios = mine / theirs
        return Difference(
            method=method.name,
            other=other.name,
            by_seed=np.nanmean(mine, axis=1) - np.nanmean(theirs, axis=1),
            reference=float(np.nanmean(theirs, axis=1).mean()),
            by_task=_mean(ratios),
            ratio=float(np.nanmean(ratios, axis=1).mean()),
            ratio_spread=_std(np.nanmean(ratios, axis=1)),
            tasks_better=int((_mean(mine) < _mean(theirs)).sum()),
            certainty=certainty(mine, theirs, test_share=self.test_share),
        )

    @property
    def test_share(self) -> float:
        """Test molecules divided by those trained on; NaN where the split does not say."""
        parts = [self.split.get(part, float("nan")) for part in ("test", "train", "validation")]
        return float(parts[0] / (parts[1] + parts[2]))

    def mean_ratios(self, method: MethodFacts) -> pd.DataFrame:
        """λ averaged over the seeds, index = targets, columns = sources."""
        return pd.DataFrame(method.lambda_.mean(axis=0), index=list(self.tasks), columns=list(self.tasks))

    def std_ratios(self, method: MethodFacts) -> pd.DataFrame | None:
        """Standard deviation of λ over the seeds, index = targets, columns = sources; None for one seed."""
        if len(method.seeds) < 2:
            return None
        return pd.DataFrame(method.lambda_.std(axis=0, ddof=1), index=list(self.tasks), columns=list(self.tasks))

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
    for parameter in () if facts.shared else facts.parameters:
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
        verdicts=_verdicts(found.get("signal", [None] * len(seeds)), len(seeds), f"{where}, signal"),
    )


_VERDICT: Mapping[str, type | tuple[type, ...]] = {
    "told": int,
    "tested": int,
    "p": (int, float),
    "level": (int, float),
    "steps": int,
    "more": list,
    "less": list,
    "text": str,
}


def _verdicts(found: Any, seeds: int, where: str) -> tuple[Verdict | None, ...]:
    """One per seed; older folders have none."""
    if not isinstance(found, list) or len(found) != seeds or not all(isinstance(each, dict | None) for each in found):
        raise ReportError(f"{where} is {found!r}; a list of {seeds} objects or nulls is wanted")
    for each in found:
        if each is not None:
            check(each, _VERDICT, where)
            if not all(isinstance(label, str) for label in (*each["more"], *each["less"])):
                raise ReportError(
                    f"{where}: more and less are {each['more']!r} and {each['less']!r}; labels are wanted"
                )
    return tuple(None if each is None else Verdict(**{key: each[key] for key in _VERDICT}) for each in found)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the seeds, `[S, T]` ↦ `[T]`; NaN only where every seed is NaN."""
    count = np.isfinite(values).sum(axis=0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def _std(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
