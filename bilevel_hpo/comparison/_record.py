"""Write results.json and the tables of a comparison, from which its report is made."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
from torch import nn

from bilevel_hpo.comparison._answers import Answers
from bilevel_hpo.comparison._fixed import labels_of
from bilevel_hpo.comparison._jobs import Trained
from bilevel_hpo.comparison._setting import Answer, Method, Setting
from bilevel_hpo.comparison._verdict import OUTER_STEP_COLUMNS
from bilevel_hpo.learner import Weights
from bilevel_hpo.run_folder import versions, write_csv, write_json
from bilevel_hpo.weights import TransferRatios

__all__ = ["write_record"]

_FIRST = ("method", "seed")
_CURVE = ("epoch", "seconds", "train_loss", "selection")


def write_record(
    folder: Path,
    methods: Sequence[Method],
    seeds: Sequence[int],
    answers: Answers,
    setting: Setting,
    *,
    facts: Mapping[str, Any],
    of_method: Callable[[Sequence[Answer]], Mapping[str, Any]] = lambda answers: {},
    packages: Sequence[str] = (),
) -> None:
    """Writes the files that docs/comparison.md describes.

    Args:
        folder: of the run.
        methods: the methods in the order of the report.
        seeds: of every method.
        answers: the answers of all methods.
        setting: the setting of the comparison.
        facts: further entries of results.json: `command`, `control`, `task_info`, `split`, `data`, …
        of_method: a function from the answers of a method, by seed, to further entries of that method.
        packages: packages whose versions are recorded.
    """
    found = {method.name: [answers[method.name, seed] for seed in seeds] for method in methods}
    rows = [
        (name, seed, answer.trained) for name, runs in found.items() for seed, answer in zip(seeds, runs, strict=True)
    ]
    good = [trained for *_, trained in rows if not trained.failure]
    tasks = list(good[0].selection) if good else []
    shape = _Shape(setting.weights)
    results: dict[str, Any] = {
        "kind": "comparison",
        "tasks": tasks,
        "metric": {"name": setting.metric.name, "higher_is_better": setting.metric.higher_is_better},
        "methods": [
            _method(method, seeds, found[method.name], tasks, shape) | dict(of_method(found[method.name]))
            for method in methods
        ],
        "versions": versions(packages),
        **facts,
    }
    searches = _by_axes(found, seeds)
    if searches:
        axes = max(searches, key=len)
        results["search"] = {"parameters": list(axes)} | dict(facts.get("search", {}))
        for other, table in searches.items():
            write_csv(folder / ("trials.csv" if other == axes else f"trials-{table['method'].iloc[0]}.csv"), table)
    write_csv(folder / "history.csv", _table(rows, lambda trained: trained.curve, _CURVE))
    write_csv(folder / "outer_steps.csv", _table(rows, lambda trained: trained.outer_steps, OUTER_STEP_COLUMNS))
    ends = [(name, seed, trained.lambda_) for name, seed, trained in rows if trained.lambda_]
    write_csv(folder / f"{shape.name}.csv", pd.DataFrame(list(shape.rows(ends)), columns=shape.columns()))
    path = [
        (name, seed, epoch, lambda_)
        for name, seed, trained in rows
        for epoch, lambda_ in zip(_epochs(trained), trained.trajectory, strict=True)
    ]
    history = pd.DataFrame(list(shape.rows(path)), columns=shape.columns("epoch"))
    write_csv(folder / f"{shape.name}_history.csv", history)
    write_json(folder / "results.json", results)


class _Shape:
    """The names of the entries of λ: target and source for the matrix of `TransferRatios`, otherwise labels."""

    def __init__(self, weights: nn.Module) -> None:
        self._matrix = isinstance(weights, TransferRatios)
        if isinstance(weights, TransferRatios):
            self.name = "ratios"
            self._names: list[tuple[str, ...]] = [(t, s) for t in weights.targets for s in weights.sources]
            self._about: dict[str, Any] = {"targets": list(weights.targets), "sources": list(weights.sources)}
        else:
            self.name = "weights"
            self._names = [(label,) for label in labels_of(cast(Weights, weights))]
            self._about = {"labels": [label for (label,) in self._names]}

    def columns(self, *more: str) -> list[str]:
        """The columns of a table."""
        return ["method", "seed", *more, *(("target", "source") if self._matrix else ("label",)), "lambda"]

    def rows(self, found: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Yields a row for every entry of the last λ of each of `found`."""
        for *where, lambda_ in found:
            for names, value in zip(self._names, lambda_, strict=True):
                yield (*where, *names, value)

    def record(self, found: Sequence[Sequence[float]]) -> dict[str, Any] | None:
        """Returns λ of each seed for results.json; None if a method has none."""
        if not all(found):
            return None
        width = len(self._about.get("sources", ())) or None
        shaped = [[list(row[at : at + width]) for at in range(0, len(row), width)] if width else row for row in found]
        return {**self._about, "per_seed": shaped}


def _method(
    method: Method, seeds: Sequence[int], runs: Sequence[Answer], tasks: Sequence[str], shape: _Shape
) -> dict[str, Any]:
    """Returns the entry of a method with its finished seeds; the others are listed under `failures`."""
    good = [(seed, run) for seed, run in zip(seeds, runs, strict=True) if not run.trained.failure]

    def per_task(of: Callable[[Trained], Mapping[str, float]]) -> dict[str, list[float | None]]:
        return {task: [_finite(of(run.trained)[task]) for _, run in good] for task in tasks}

    def mean(of: Callable[[Answer], float]) -> float:
        return sum(of(run) for _, run in good) / len(good) if good else 0.0

    return {
        "name": method.name,
        "title": method.title,
        "group": method.group,
        "seeds": [seed for seed, _ in good],
        "lambda": shape.record([run.trained.lambda_ for _, run in good]),
        "selection": per_task(lambda trained: trained.selection),
        "test": per_task(lambda trained: trained.test),
        "wall_s": mean(lambda run: run.seconds),
        "cpu_s": mean(lambda run: run.cpu_seconds),
        "training_runs": runs[0].training_runs,
        "epochs": round(mean(lambda run: run.epochs)),
        "signal": [run.trained.signal for _, run in good],
        "note": ", ".join(run.note for _, run in good if run.note),
        "failures": [
            f"seed {seed}: {run.trained.failure}" for seed, run in zip(seeds, runs, strict=True) if run.trained.failure
        ],
    }


def _by_axes(found: Mapping[str, Sequence[Answer]], seeds: Sequence[int]) -> dict[tuple[str, ...], pd.DataFrame]:
    """Groups the trials of all searches into one table for each set of axes."""
    rows: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for name, runs in found.items():
        for seed, answer in zip(seeds, runs, strict=True):
            for number, trial in enumerate(answer.trials):
                row = (name, seed, number, *trial.params.values(), trial.selection, trial.seconds)
                rows.setdefault(tuple(trial.params), []).append(row)
    return {
        axes: pd.DataFrame(trials, columns=["method", "seed", "trial", *axes, "selection", "wall_s"])
        for axes, trials in rows.items()
    }


def _table(
    rows: Sequence[tuple[str, int, Trained]],
    of: Callable[[Trained], Sequence[Mapping[str, Any]]],
    columns: Sequence[str],
) -> pd.DataFrame:
    """Returns a table with `columns` first, then any others."""
    found = [{"method": name, "seed": seed, **row} for name, seed, trained in rows for row in of(trained)]
    more = [key for key in dict.fromkeys(key for row in found for key in row) if key not in columns]
    return pd.DataFrame(found, columns=[*_FIRST, *columns, *(key for key in more if key not in _FIRST)])


def _epochs(trained: Trained) -> Sequence[int]:
    """Returns the epochs of the rows of the trajectory: all, or the first and the last."""
    n = len(trained.trajectory)
    return range(n) if n == trained.epochs + 1 else (0, trained.epochs)[:n]


def _finite(score: float) -> float | None:
    return score if math.isfinite(score) else None
