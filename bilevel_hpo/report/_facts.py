"""The results of a run in numbers, without HTML."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilevel_hpo.report._files import ReportError, RunFiles, check, numbers, read_run
from bilevel_hpo.report._lambda import LambdaFacts, lambda_facts
from bilevel_hpo.report._verdict import verdicts_of
from bilevel_hpo.signal import Verdict
from bilevel_hpo.statistics import Paired, Scale, mean_over_tasks, paired, scale_of

__all__ = ["MethodFacts", "Metric", "ReportFacts", "decimals", "per_task", "report_facts"]

Array = NDArray[np.float64]

_CONTROLS = ("lambda=0", "lambda=1")
"""What the others are compared with where the record does not say."""


@dataclass(frozen=True)
class Metric:
    """The metric: name and direction of the scores."""

    name: str
    higher_is_better: bool
    unit: str = ""
    note: str = ""
    """How it is taken, such as "standardised labels"."""

    @property
    def best(self) -> str:
        """The word for the best: lowest or highest."""
        return "highest" if self.higher_is_better else "lowest"

    def loss(self, score: float) -> float:
        """Returns a number to minimise; infinite for NaN."""
        return np.inf if np.isnan(score) else -score if self.higher_is_better else score


@dataclass(frozen=True, eq=False)
class MethodFacts:
    """One way of choosing λ; S seeds, T tasks. Spreads are sample standard deviations (ddof = 1), NaN for one seed."""

    name: str
    title: str
    group: str
    """learned, constant, search, frozen, or another word."""
    seeds: tuple[int, ...]
    """The seeds with scores; empty for a method that failed in all of them."""
    test: Array
    """Scores on the test data, `[S, T]`; NaN = none of that task in that seed."""
    lambda_: LambdaFacts | None
    wall_s: float
    """Seconds for the answer of one seed."""
    training_runs: int
    """Trainings for the answer of one seed."""
    verdicts: tuple[Verdict | None, ...]
    """The test of λ for each seed; None if it was not made."""
    failures: tuple[str, ...]
    """The failures, with their seeds."""
    note: str

    @cached_property
    def by_seed(self) -> Array:
        """The mean over the tasks, `[S]`."""
        return mean_over_tasks(self.test)

    @property
    def score(self) -> float:
        """The mean over tasks, then over seeds; NaN if every seed failed."""
        known = self.by_seed[np.isfinite(self.by_seed)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def std(self) -> float:
        """The spread over the seeds of the mean over tasks."""
        known = self.by_seed[np.isfinite(self.by_seed)]
        return float(known.std(ddof=1)) if len(known) > 1 else float("nan")


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """Everything that the page states and draws."""

    folder: Path
    kind: str
    """comparison, training, leaderboard."""
    metric: Metric
    tasks: tuple[str, ...]
    methods: tuple[MethodFacts, ...]
    control: MethodFacts | None
    """The method that the others are compared with."""
    control_note: str
    """Why."""
    lambda_note: str
    """The scale of λ, such as "in units of the direct path"; empty: as it entered the loss."""
    test_share: float
    """The number of test examples divided by that of training examples; NaN if not recorded."""
    command: str
    versions: Mapping[str, str]
    parameters: tuple[str, ...]
    """λ of the searches; empty without one."""
    files: RunFiles

    def method(self, name: str) -> MethodFacts | None:
        """Returns the method called `name`, if it was run."""
        return next((method for method in self.methods if method.name == name), None)

    def id_of(self, method: MethodFacts) -> str:
        """Returns its name for the ids of figures, or its place if the name has characters not allowed in an id."""
        return method.name if re.fullmatch(r"[\w.=+-]+", method.name) else f"method-{self.methods.index(method)}"

    @cached_property
    def ranked(self) -> tuple[MethodFacts, ...]:
        """The methods with scores, best first."""
        scored = (method for method in self.methods if not np.isnan(method.score))
        return tuple(sorted(scored, key=lambda method: self.metric.loss(method.score)))

    @property
    def best(self) -> MethodFacts:
        """The method with the best mean score on the test data."""
        return self.ranked[0]

    @property
    def best_learned(self) -> MethodFacts | None:
        """The learned method with the best mean score on the test data."""
        return next((method for method in self.ranked if method.group == "learned"), None)

    @property
    def shown(self) -> MethodFacts:
        """The method whose λ is shown first."""
        return self.best_learned or self.best

    @cached_property
    def scale(self) -> Scale:
        """The scale on which all methods are compared."""
        return scale_of(*(method.test for method in self.methods), higher_is_better=self.metric.higher_is_better)

    @cached_property
    def digits(self) -> str:
        """The format of a score: four digits, counted from the largest."""
        known = np.concatenate([np.abs(method.test[np.isfinite(method.test)]) for method in self.methods])
        return decimals(float(known.max(initial=0.0)), 4)

    def difference(self, method: MethodFacts, other: MethodFacts) -> Paired | None:
        """Compares `method` with `other` on their common seeds; None if they share no score."""
        shared = [seed for seed in method.seeds if seed in other.seeds]
        mine = method.test[[method.seeds.index(seed) for seed in shared]]
        theirs = other.test[[other.seeds.index(seed) for seed in shared]]
        if not (np.isfinite(mine) & np.isfinite(theirs)).any():
            return None
        return paired(
            mine,
            theirs,
            test_share=self.test_share,
            higher_is_better=self.metric.higher_is_better,
            scale=self.scale,
        )


def report_facts(folder: Path | str) -> ReportFacts:
    """Returns the facts of a run folder.

    Raises:
        ReportError: a file is missing or damaged; the message names it and what it must be.
    """
    folder = Path(folder)
    files = read_run(folder)
    results, where = files.results, folder / "results.json"
    tasks = tuple(results["tasks"])
    methods = tuple(_method(method, tasks, f"{where}: method {method['name']!r}") for method in results["methods"])
    metric = results["metric"]
    facts = ReportFacts(
        folder=folder,
        kind=results["kind"],
        metric=Metric(**{key: metric[key] for key in ("name", "higher_is_better", "unit", "note") if key in metric}),
        tasks=tasks,
        methods=methods,
        control=_control(methods, results.get("control"), where),
        control_note=results.get("control_note") or "",
        lambda_note=results.get("lambda_note") or "",
        test_share=_test_share(results.get("split") or {}, f"{where}: split"),
        command=results["command"],
        versions=results["versions"],
        parameters=tuple((results.get("search") or {}).get("parameters", ())),
        files=files,
    )
    if not facts.ranked:
        raise ReportError(f"{where}: at least one method must have a score in test; none has")
    return facts


def decimals(largest: float, digits: int) -> str:
    """Returns a format with `digits` significant digits for numbers of this size; from 0.1 to 1 as many decimals."""
    if not largest or not np.isfinite(largest):
        return f".{digits}f"
    before = int(np.floor(np.log10(largest))) + 1
    return f".{min(max(digits - max(before - 1, 0) - min(before, 0), 0), 12)}f"


def _control(methods: tuple[MethodFacts, ...], name: str | None, where: Path) -> MethodFacts | None:
    found = {method.name: method for method in methods}
    if name is not None:
        if name not in found:
            raise ReportError(f"{where}: control must be one of the methods {list(found)}; got {name!r}")
        return found[name]
    constants = [method.name for method in methods if method.group == "constant"]
    return next((found[each] for each in (*_CONTROLS, *constants) if each in found), None)


def _test_share(split: Mapping[str, Any], where: str) -> float:
    known = {key: split[key] for key in ("test_share", "train", "validation", "test") if split.get(key) is not None}
    for key, value in known.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ReportError(f"{where}: {key} must be a number of at least 0; got {value!r}")
    if "test_share" in known:
        return float(known["test_share"])
    trained = known.get("train", 0) + known.get("validation", 0)
    return float(known["test"] / trained) if "test" in known and "train" in known and trained else float("nan")


def _method(found: dict[str, Any], tasks: tuple[str, ...], where: str) -> MethodFacts:
    seeds = tuple(found["seeds"])
    if len(set(seeds)) < len(seeds) or not all(isinstance(seed, int) for seed in seeds):
        raise ReportError(f"{where}: seeds must be different whole numbers; got {list(seeds)}")
    check({"failures": []} | found, {"failures": list}, where)
    lambda_ = found.get("lambda") if seeds else None
    return MethodFacts(
        name=found["name"],
        title=found["title"],
        group=found["group"],
        seeds=seeds,
        test=per_task(found, "test", tasks, len(seeds), where),
        lambda_=lambda_facts(lambda_, len(seeds), f"{where}, lambda"),
        wall_s=float(found["wall_s"]),
        training_runs=found["training_runs"],
        verdicts=verdicts_of(found.get("signal"), len(seeds), f"{where}, signal"),
        failures=tuple(map(str, found.get("failures", ()))),
        note=str(found.get("note") or ""),
    )


def per_task(found: Mapping[str, Any], key: str, tasks: tuple[str, ...], seeds: int, where: str) -> Array:
    """Returns `found[key]`, a list of one number per seed for each task, as `[S, T]`."""
    if not seeds:
        return np.empty((0, len(tasks)))
    missing = [task for task in tasks if task not in found[key]]
    if missing:
        raise ReportError(f"{where}, {key} lacks the tasks {missing}; it must have a list of {seeds} for each")
    return np.stack([numbers(found[key][task], (seeds,), f"{where}, {key}[{task!r}]") for task in tasks], axis=1)
