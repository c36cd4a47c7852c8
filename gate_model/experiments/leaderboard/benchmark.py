"""All jobs of a leaderboard in worker processes of one thread each; goes on where it stopped."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path

from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard.jobs import Result, job_file, read_result, run_job
from gate_model.experiments.leaderboard.table import ENTRIES, Entry, entries_of
from gate_model.experiments.workers import count_training, worker_pool
from gate_model.training import Settings

__all__ = ["Benchmark", "run_benchmark"]


@dataclass(frozen=True)
class Benchmark:
    """What is run."""

    methods: tuple[str, ...]
    """Names of the rows."""
    settings: Settings
    workers: int
    python: Path | None = None
    """The interpreter that has chemprop."""

    @property
    def entries(self) -> list[Entry]:
        """The methods behind the rows."""
        return entries_of(list(self.methods))


def run_benchmark(
    folder: Path,
    datasets: dict[int, PreparedData],
    benchmark: Benchmark,
    *,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[Result]:
    """Run every method for every seed; a job that has its file is not run again.

    Args:
        folder: of the jobs' files.
        datasets: one prepared data set per seed.
        benchmark: what to run.
        progress: called with trainings done and trainings in all.
    """
    tasks = len(next(iter(datasets.values())).abbreviations)
    folder.mkdir(parents=True, exist_ok=True)
    # Seed by seed, so that an unfinished run has whole seeds; within one the long jobs first.
    entries = sorted(benchmark.entries, key=lambda entry: (entry.waits_for is not None, -_cost(entry, tasks)))
    jobs = [(entry, seed) for seed in datasets for entry in entries]
    done = [job for job in jobs if job_file(folder, job[0].name, job[1]).exists()]
    total = sum(_cost(entry, tasks) for entry, _ in jobs)
    before = sum(_cost(entry, tasks) for entry, _ in done)
    with worker_pool(benchmark.workers, _keep, (folder, datasets, benchmark), done=before) as (pool, trainings):
        todo = [job for job in jobs if job not in done]
        pending: set[Future[None]] = set()
        while todo or pending:
            ready = [job for job in todo if _ready(folder, *job)][: benchmark.workers - len(pending)]
            pending |= {pool.submit(_job, entry.name, seed) for entry, seed in ready}
            todo = [job for job in todo if job not in ready]
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
            progress(trainings(), total)
    return [read_result(folder, entry.name, seed) for entry, seed in jobs]


def _ready(folder: Path, entry: Entry, seed: int) -> bool:
    return entry.waits_for is None or job_file(folder, entry.waits_for, seed).exists()


def _cost(entry: Entry, tasks: int) -> int:
    return tasks if entry.trainings is None else entry.trainings


class _Worker:
    """What a worker process keeps from its start."""

    folder: Path
    datasets: dict[int, PreparedData]
    benchmark: Benchmark


def _keep(folder: Path, datasets: dict[int, PreparedData], benchmark: Benchmark) -> None:
    _Worker.folder, _Worker.datasets, _Worker.benchmark = folder, datasets, benchmark


def _job(name: str, seed: int) -> None:
    data, benchmark = _Worker.datasets[seed], _Worker.benchmark
    run_job(
        ENTRIES[name],
        data,
        benchmark.settings,
        seed=seed,
        folder=_Worker.folder,
        python=benchmark.python,
        tick=count_training,
    )
