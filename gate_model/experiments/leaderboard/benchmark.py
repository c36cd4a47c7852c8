"""All jobs of a leaderboard in worker processes of one thread each; goes on where it stopped."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import optuna
import torch

from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard.jobs import Result, job_file, read_result, run_job
from gate_model.experiments.leaderboard.table import ENTRIES, Entry, entries_of
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
    context = multiprocessing.get_context("spawn")
    counter: Any = context.Value("i", sum(_cost(entry, tasks) for entry, _ in done))
    initial = (folder, datasets, benchmark, counter)
    with ProcessPoolExecutor(benchmark.workers, context, _start, initial) as pool:
        todo = [job for job in jobs if job not in done]
        pending: set[Future[None]] = set()
        try:
            while todo or pending:
                ready = [job for job in todo if _ready(folder, *job)][: benchmark.workers - len(pending)]
                pending |= {pool.submit(_job, entry.name, seed) for entry, seed in ready}
                todo = [job for job in todo if job not in ready]
                finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                progress(counter.value, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
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
    counter: "Synchronized[int]"


def _start(folder: Path, datasets: dict[int, PreparedData], benchmark: Benchmark, counter: "Synchronized[int]") -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.folder, _Worker.datasets, _Worker.benchmark, _Worker.counter = folder, datasets, benchmark, counter


def _end_with_parent() -> None:
    """A killed main process must not leave workers behind that go on writing into its folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _job(name: str, seed: int) -> None:
    data, benchmark = _Worker.datasets[seed], _Worker.benchmark
    run_job(
        ENTRIES[name],
        data,
        benchmark.settings,
        seed=seed,
        folder=_Worker.folder,
        python=benchmark.python,
        tick=_count,
    )


def _count() -> None:
    with _Worker.counter.get_lock():
        _Worker.counter.value += 1
