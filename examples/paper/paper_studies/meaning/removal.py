"""The measured gain of a source, from trainings at λ = 1 with all sources and with each source removed.

gain[t, s] = log RMSE of t without s − log RMSE of t with all, on the selection molecules; above 0 the source helps. The
source is removed for all targets at once, λ[·, s] = 0. Its own direct path stays, and so do the weights of the other
sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bilevel_hpo import DivergedError
from bilevel_hpo.comparison import Answer, Bundle, Job, Progress, Setting, Trained, run_methods
from bilevel_hpo.jobs import On
from gate_model.data.prepared import PreparedData
from gate_model.experiments.record import setting_of
from gate_model.experiments.trainings import Trainings
from gate_model.training.settings import Settings

__all__ = ["Removals", "gains", "train_removals", "without"]

Array = NDArray[np.float64]


def without(source: int | None, tasks: Sequence[str]) -> tuple[float, ...]:
    """Return λ `[T²]`: 1 everywhere, but 0 for the paths from one source."""
    T = len(tasks)
    return tuple(float(t == s or s != source) for t in range(T) for s in range(T))


def gains(rmse_with_all: Array, rmse_without: Array) -> Array:
    """Return the gains `[S, T targets, T sources]`.

    Args:
        rmse_with_all: RMSE with all sources `[S, targets]`.
        rmse_without: RMSE without one source `[S, removed sources, targets]`.
    """
    return np.log(rmse_without).transpose(0, 2, 1) - np.log(rmse_with_all)[:, :, None]


@dataclass(frozen=True)
class Removals:
    """The removals in the form of a method of a comparison: T + 1 trainings for each seed."""

    tasks: tuple[str, ...]
    population: int
    """Number of trainings that are done together."""
    name: str = "removal"
    title: str = "λ = 1 without one source"
    group: str = "constant"

    def trainings(self, setting: Setting) -> int:
        """Return the number of trainings: one with all sources, and one without each source."""
        return len(self.tasks) + 1

    def plan(self, setting: Setting, seed: int) -> "_Plan":
        """Return the plan of the trainings of a seed, in bundles."""
        return _Plan(self, seed)


class _Plan:
    """All trainings of a seed; `extra` of the answer holds their RMSE."""

    remembers_trials = False

    def __init__(self, removals: Removals, seed: int) -> None:
        removed = [None, *range(len(removals.tasks))]
        jobs = [
            Job(removals.name, seed, number, without(source, removals.tasks), test=False)
            for number, source in enumerate(removed)
        ]
        self._left = [tuple(jobs[at : at + removals.population]) for at in range(0, len(jobs), removals.population)]
        self._found: dict[int, list[float]] = {}
        self._wanted = len(jobs)
        self.answer: Answer | None = None

    def start(self) -> Sequence[Bundle]:
        """Return all bundles at the first call, and none afterwards."""
        bundles, self._left = self._left, []
        return bundles

    def finish(self, job: Bundle, result: list[Trained]) -> None:
        """Store the RMSE of a bundle, and make the answer when all are there.

        Raises:
            DivergedError: a training failed.
        """
        for each, trained in zip(job, result, strict=True):
            if trained.failure:
                raise DivergedError(trained.failure)
            self._found[each.number] = list(trained.selection.values())
        if len(self._found) == self._wanted:
            rows = [self._found[number] for number in range(self._wanted)]
            self.answer = Answer(replace(result[0], extra={"rmse": rows}), self._wanted, 0.0, 0.0, 0)


def train_removals(
    folder: Path,
    datasets: Mapping[int, PreparedData],
    settings: Settings,
    *,
    population: int,
    on: On,
    progress: Progress = lambda done, total: None,
) -> Array:
    """Train with all sources and without each, and return the RMSE on the selection molecules `[S, 1 + T, targets]`.

    The RMSE is on standardised labels. Each finished training is stored in `folder/jobs` and is not repeated.

    Args:
        folder: the run folder.
        datasets: prepared data by seed, all with the same tasks.
        settings: hyperparameters of the trainings.
        population: number of trainings that are done together.
        on: where to train, see `bilevel_hpo.jobs.workers`.
        progress: called with (number of trainings done, number of all trainings).
    """
    tasks = next(iter(datasets.values())).abbreviations
    trainings, removals = Trainings(datasets, settings), Removals(tasks, population)
    answers = run_methods(
        trainings,
        [removals],
        list(datasets),
        setting_of(folder, tasks, asdict(settings)),
        on=on,
        together=trainings.together,
        progress=progress,
    )
    return np.array([answers[removals.name, seed].trained.extra["rmse"] for seed in datasets], dtype=np.float64)
