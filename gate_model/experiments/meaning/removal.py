"""What a source is worth, measured: trainings at λ = 1 with all sources, and with each source removed.

gain[t, s] = log RMSE of t without s − log RMSE of t with all, on the selection molecules: above 0 the source helps. The
source is removed for all targets at once, λ[·, s] = 0; its own direct path stays, and so do the weights of the others.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bilevel_hpo.run_folder import read_json, write_json
from gate_model.data.prepared import PreparedData
from gate_model.experiments.workers import count_training, worker_pool
from gate_model.methods import Constant
from gate_model.population import train_population
from gate_model.training import Settings, predict, rmse

__all__ = ["Removal", "gains", "train_removals", "without"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Removal:
    """How the trainings are done."""

    settings: Settings
    population: int
    """Trainings that are done as one."""
    workers: int

    def parts(self, n_tasks: int) -> list[list[int | None]]:
        """Sources that are removed (None: none) in each population of one seed."""
        removed = [None, *range(n_tasks)]
        return [removed[start : start + self.population] for start in range(0, n_tasks + 1, self.population)]


def without(source: int | None, tasks: tuple[str, ...]) -> Constant:
    """λ = 1, but 0 from one source."""
    values = tuple(tuple(float(t == s or s != source) for s in range(len(tasks))) for t in range(len(tasks)))
    return Constant("all sources" if source is None else f"without {tasks[source]}", "", values)


def gains(rmse_with_all: Array, rmse_without: Array) -> Array:
    """`[S, T targets, T sources]`.

    Args:
        rmse_with_all: `[S, targets]`.
        rmse_without: `[S, removed sources, targets]`.
    """
    return np.log(rmse_without).transpose(0, 2, 1) - np.log(rmse_with_all)[:, :, None]


def train_removals(
    folder: Path,
    datasets: Mapping[int, PreparedData],
    removal: Removal,
    *,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Array:
    """RMSE on the selection molecules `[S, 1 + T, targets]`, standardised labels: with all sources, then without each.

    Every population that is done is a file in `folder`, and is not trained again.

    Args:
        folder: of those files.
        datasets: one per seed, all of the same tasks.
        removal: how to train.
        progress: called with trainings done and trainings in all.
    """
    n_tasks = len(next(iter(datasets.values())).abbreviations)
    parts = removal.parts(n_tasks)
    jobs = [(seed, part) for seed in datasets for part in range(len(parts))]
    todo = [job for job in jobs if not _file(folder, *job).exists()]
    total, before = (sum(len(parts[part]) for _, part in some) for some in (jobs, [j for j in jobs if j not in todo]))
    with worker_pool(removal.workers, _keep, (folder, datasets, removal), done=before) as (pool, trainings):
        progress(before, total)
        pending = {pool.submit(_job, *job) for job in todo}
        while pending:
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
            progress(trainings(), total)
    found = [[row for part in range(len(parts)) for row in read_json(_file(folder, seed, part))] for seed in datasets]
    return np.array(found, dtype=np.float64)


def _file(folder: Path, seed: int, part: int) -> Path:
    return folder / f"seed{seed}-part{part}.json"


class _Worker:
    """What a worker process keeps from its start."""

    folder: Path
    datasets: Mapping[int, PreparedData]
    removal: Removal


def _keep(folder: Path, datasets: Mapping[int, PreparedData], removal: Removal) -> None:
    _Worker.folder, _Worker.datasets, _Worker.removal = folder, datasets, removal


def _job(seed: int, part: int) -> None:
    data, removal = _Worker.datasets[seed], _Worker.removal
    removed = removal.parts(len(data.abbreviations))[part]
    methods = [without(source, data.abbreviations) for source in removed]
    x, labels = data.some(data.split.selection)
    trained = train_population(data, methods, removal.settings, seed=seed)
    write_json(_file(_Worker.folder, seed, part), [rmse(predict(each.model, x), labels).tolist() for each in trained])
    for _ in trained:
        count_training()
