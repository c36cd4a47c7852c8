"""Compare learned λ with constant and searched λ, on the same seeds and splits, for any model."""

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from bilevel_hpo.comparison._answers import Answers, Progress, run_methods
from bilevel_hpo.comparison._constant import Constant, Frozen
from bilevel_hpo.comparison._describe import described
from bilevel_hpo.comparison._learned import Learned
from bilevel_hpo.comparison._record import write_record
from bilevel_hpo.comparison._scores import Metric
from bilevel_hpo.comparison._searches import best_constant, grid, tpe
from bilevel_hpo.comparison._setting import Method, Setting
from bilevel_hpo.comparison._trainer import Together, Training
from bilevel_hpo.constraints import Box
from bilevel_hpo.jobs import On
from bilevel_hpo.run_folder import locked, open_folder
from bilevel_hpo.weights import LossWeights, TransferRatios

__all__ = ["Comparison", "compare", "default_methods", "equal"]

_MOST_POINTS = 81
"""The largest grid that is searched by default."""


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`; everything is also in the files of `folder`."""

    folder: Path
    answers: Answers
    """The answers by method and seed."""
    table: pd.DataFrame
    """A row per method, best first: its score on the test data, mean and standard deviation over the seeds, and its
    cost."""

    @property
    def report(self) -> Path:
        """The report page."""
        return self.folder / "report.html"

    def __str__(self) -> str:
        return (
            f"{self.table.to_string(index=False, float_format=lambda x: f'{x:.4g}')}\nreport: {self.report.resolve()}"
        )


def compare(
    training: Training,
    weights: nn.Module,
    methods: Sequence[Method] | None = None,
    *,
    out: str | Path,
    seeds: int | Sequence[int] = 5,
    metric: Metric | None = None,
    on: On = None,
    storage: str | None = None,
    together: Together | None = None,
    about: Mapping[str, Any] | None = None,
    test_share: float | None = None,
    resume: bool = True,
    progress: bool | Progress = True,
) -> Comparison:
    """Trains every method with every seed, chooses on selection data, judges on test data, and writes one report.

    Every finished training is a file in `out/jobs`, and searches keep their studies there: an interrupted comparison
    continues from those and ends with the same numbers, on one process or many. Choices are made by the score on the
    selection data; the test data are used once for each method and seed.

    Args:
        training: the function `run` ↦ `Scores`, the same for all methods. docs/comparison.md has an example.
        weights: λ at the start, with its constraint. It is copied for each training.
        methods: the methods to compare; by default `default_methods(weights)`.
        out: the folder of the results.
        seeds: the number of seeds (0, 1, …), or the seeds.
        metric: the meaning of the scores; by default a loss, for which lower is better.
        on: where to train: a number of processes (by default all cores; 1 is this process), the address of a Dask
            scheduler, or any `concurrent.futures.Executor`.
        storage: where the searches keep their Optuna studies: the URL of a database; by default journal files in
            `out`.
        together: trains several points of a search in one call; see `Together`.
        about: JSON with whatever else determines the scores (data, epochs, learning rate); a folder with another
            `about` is refused.
        test_share: the number of test examples divided by that of training and validation examples. The intervals of
            the report need it, since seeds share examples.
        resume: whether to continue the comparison in `out`; with False, a folder that holds one is refused.
        progress: whether to show a progress bar on stderr, or a function of (finished trainings, all trainings).

    Raises:
        ValueError: two methods have the same name, or there is no seed.
        RunError: `out` holds another run or other files, or another process is working there.
        WorkersLostError: the processes of a training died repeatedly.
    """
    folder = Path(out)
    methods = default_methods(weights) if methods is None else list(methods)
    seeds = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    _check(methods, seeds)
    metric = metric or Metric()
    asked = {"weights": described(weights), "metric": described(metric), "about": dict(about or {})}
    setting = Setting(weights, metric, folder / "jobs", storage, asked)
    with locked(folder):
        open_folder(folder, {"command": "compare", **asked}, resume=resume)
        with _shown(progress) as show:
            answers = run_methods(
                training,
                methods,
                seeds,
                setting,
                on=os.cpu_count() if on is None else on,
                together=together,
                progress=show,
            )
        known: dict[str, Any] = {"command": shlex.join(sys.argv), "control": _control(methods)}
        known |= {} if test_share is None else {"split": {"test_share": test_share}}
        write_record(folder, methods, seeds, answers, setting, facts=known)
        from bilevel_hpo.report import write_report  # noqa: PLC0415  plotly and templates: workers need neither

        write_report(folder)
    return Comparison(folder, answers, _table(methods, seeds, answers, metric))


def default_methods(weights: nn.Module) -> list[Method]:
    """Returns learned λ and its usual alternatives.

    These are equal λ; the best of nine common values, unless the constraint makes them equal; a grid of three values
    each, if it has at most 81 points; and TPE with up to 27 trials. Searches cover the bounds of a `Box`, the
    shares of a `Budget`, and otherwise 0.01 to 100 on a logarithmic scale. For other modules than `LossWeights` and
    `TransferRatios`: learned and constant λ.
    """
    if not isinstance(weights, LossWeights | TransferRatios):
        return [Learned(), Constant(1.0)]
    box, couples = weights.constraint, weights.constraint.couples
    log = not couples and not (isinstance(box, Box) and bool(torch.isfinite(box.high - box.low)))
    low, high = (float(box.low), float(box.high)) if isinstance(box, Box) and not log else (0.0, 1.0)
    methods: list[Method] = [Learned(), equal(weights)]
    if not couples:
        methods.append(best_constant() if log else best_constant(_between(low, high, 9)))
    over_all = grid((0.1, 1.0, 10.0) if log else _between(low, high, 3))
    points = 3 ** len(over_all.axes.space(weights).axes)
    searched = tpe(min(points, 27), 0.01, 100.0, log=True) if log else tpe(min(points, 27), low, high)
    return [*methods, *([over_all] if points <= _MOST_POINTS else []), searched]


def _between(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * step / (count - 1) for step in range(count)]


def equal(weights: LossWeights | TransferRatios) -> Constant:
    """Makes all λ equal, as the constraint of `weights` allows: shares of the total under a `Budget`, 1 otherwise."""
    lambda_ = weights.constraint.normalise(torch.ones_like(weights()))
    return Constant(lambda_.flatten().tolist(), "equal", "equal constant λ")


def _check(methods: Sequence[Method], seeds: Sequence[int]) -> None:
    names = [method.name for method in methods]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise ValueError(
            f"methods must be at least one, with different names; got {f'{twice} twice' if twice else 'none'}"
        )
    wrong = [name for name in names if not re.fullmatch(r"[\w.=+-]+", name)]
    if wrong:
        raise ValueError(f"methods: names must be letters, digits and . = + - _, as they name files; got {wrong}")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be at least one number, each once; got {list(seeds)}")
    for method in methods:
        if isinstance(method, Frozen) and method.of not in names:
            raise ValueError(f"methods: {method.name} needs {method.of!r} among the methods; got {names}")


def _control(methods: Sequence[Method]) -> str | None:
    """Returns the control, with which the others are compared: the first constant."""
    return next((method.name for method in methods if method.group == "constant"), None)


@contextmanager
def _shown(progress: bool | Progress) -> Iterator[Progress]:
    if not isinstance(progress, bool):
        yield progress
        return
    with tqdm(desc="trainings", disable=not progress, unit="") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _table(methods: Sequence[Method], seeds: Sequence[int], answers: Answers, metric: Metric) -> pd.DataFrame:
    rows = []
    for method in methods:
        found = [answers[method.name, seed] for seed in seeds]
        scores = pd.Series([metric.mean(one.trained.test) for one in found if not one.trained.failure], dtype=float)
        rows.append(
            {
                "method": method.name,
                metric.name: scores.mean(),
                "std": scores.std(),
                "seeds": len(scores),
                "trainings": found[0].training_runs,
                "seconds": sum(one.seconds for one in found) / len(found),
            }
        )
    return pd.DataFrame(rows).sort_values(metric.name, ascending=not metric.higher_is_better, kind="stable")
