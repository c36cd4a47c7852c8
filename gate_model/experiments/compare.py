"""Learned λ, constant λ, grid and TPE on the same splits and seeds, side by side."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from bilevel_hpo.run_folder import RunError, read_json, write_csv, write_json
from gate_model.data.prepared import PreparedData
from gate_model.experiments.outcome import Outcome, outcome, write_outcomes
from gate_model.experiments.search import run_search
from gate_model.experiments.workers import count_training, worker_pool
from gate_model.methods import LEARNED, SHARED, Constant, Method, pairs
from gate_model.training import Settings, train

__all__ = ["METHODS", "Comparison", "compare"]

METHODS: tuple[Method, ...] = (
    LEARNED["budget"],
    LEARNED["direct"],
    Constant("lambda=1", "constant λ = 1 (GATE)", 1.0),
    Constant("lambda=0", "constant λ = 0 (no transfer, the control)", 0.0),
)


@dataclass(frozen=True)
class Comparison:
    """What is compared, and at which cost."""

    seeds: tuple[int, ...]
    settings: Settings
    values: tuple[float, ...]
    trials: int
    """Of TPE; as many as the grid has points."""
    points: int
    shared: bool
    """Grid and TPE search one λ for all pairs: over one for each pair there would be too many points."""
    workers: int

    def cost(self, job: str) -> int:
        """Trainings of one job; a search trains its winner once more."""
        return {"grid": self.points + 1, "tpe": self.trials + 1}.get(job, 1)

    @property
    def trainings(self) -> int:
        """Trainings in all."""
        return len(self.seeds) * (len(METHODS) + self.cost("grid") + self.cost("tpe"))


def compare(
    folder: Path,
    datasets: dict[int, PreparedData],
    comparison: Comparison,
    *,
    command: str,
    progress: Callable[[int], object] = lambda done: None,
) -> None:
    """Run all methods and seeds in worker processes of one thread each, and write the run folder.

    Every finished job is a file under `folder/jobs`; an interrupted comparison goes on from those and from the
    searches' journals, and ends with the same numbers as an uninterrupted one.

    Args:
        folder: the run folder.
        datasets: one prepared data set per seed.
        comparison: what to run.
        command: for the report.
        progress: called with the number of trainings that are done.
    """
    # Long jobs first, so that no worker is left with a whole search at the end.
    jobs = [(name, seed) for name in ("tpe", "grid", *(m.name for m in METHODS)) for seed in comparison.seeds]
    waiting = [(name, seed) for name, seed in jobs if not _path(folder, name, seed).exists()]
    before = sum(comparison.cost(name) for name, seed in jobs if (name, seed) not in waiting)
    with worker_pool(comparison.workers, _keep, (folder, datasets, comparison), done=before) as (pool, trainings):
        pending = {pool.submit(_job, name, seed) for name, seed in waiting}
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            progress(trainings())

    outcomes = [_read(folder, m.name, seed) for m in METHODS for seed in comparison.seeds]
    outcomes += [_read(folder, name, seed) for name in ("grid", "tpe") for seed in comparison.seeds]
    frames = [
        pd.read_csv(folder / "jobs" / f"{name}-seed{seed}.csv") for name in ("grid", "tpe") for seed in comparison.seeds
    ]
    tasks = next(iter(datasets.values())).abbreviations
    write_outcomes(
        folder,
        "comparison",
        datasets,
        outcomes,
        command=command,
        trials=pd.concat(frames, ignore_index=True),
        parameters=[SHARED] if comparison.shared else pairs(tasks),
    )


class _Worker:
    """What a worker process keeps from its start."""

    folder: Path
    datasets: dict[int, PreparedData]
    comparison: Comparison


def _keep(folder: Path, datasets: dict[int, PreparedData], comparison: Comparison) -> None:
    _Worker.folder, _Worker.datasets, _Worker.comparison = folder, datasets, comparison


def _job(name: str, seed: int) -> None:
    folder, data, comparison = _Worker.folder, _Worker.datasets[seed], _Worker.comparison
    if name in ("grid", "tpe"):
        searched = run_search(
            "grid" if name == "grid" else "tpe",
            data,
            comparison.settings,
            seed=seed,
            storage=folder / "jobs" / f"{name}-seed{seed}.journal",
            values=comparison.values,
            trials=comparison.trials,
            shared=comparison.shared,
            after_trial=lambda done: count_training(),
        )
        if searched is None:
            raise RunError(f"{folder}: another process is at work on the comparison in this folder")
        found, trials = searched
        write_csv(folder / "jobs" / f"{name}-seed{seed}.csv", trials)
    else:
        method = next(m for m in METHODS if m.name == name)
        found = outcome(data, method, train(data, method, comparison.settings, seed=seed), seed=seed)
    count_training()
    write_json(_path(folder, name, seed), asdict(found))


def _path(folder: Path, name: str, seed: int) -> Path:
    return folder / "jobs" / f"{name}-seed{seed}.json"


def _read(folder: Path, name: str, seed: int) -> Outcome:
    return Outcome(**read_json(_path(folder, name, seed)))
