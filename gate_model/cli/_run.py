"""What every run of `gate` does: open its folder, prepare its data, show how far it is, and end with a report."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bilevel_hpo.comparison import Answers, Method, run_methods
from bilevel_hpo.jobs import On
from bilevel_hpo.run_folder import locked, open_folder
from bilevel_hpo.search import without_password
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.splits import Split
from gate_model.data.table import PropertyTable
from gate_model.experiments.compare import METHODS
from gate_model.experiments.record import setting_of, write_run
from gate_model.experiments.trainings import Trainings
from gate_model.model.embeddings import embedding_named
from gate_model.model.settings import NetworkSettings
from gate_model.report import write_report
from gate_model.training.methods import LEARNED
from gate_model.training.settings import Settings

__all__ = [
    "about_data",
    "command_typed",
    "compared",
    "console",
    "finish",
    "open_run",
    "prepare_shown",
    "progress_bar",
    "report_shown",
    "single_threads",
]

console = Console(stderr=True)


def open_run(
    out: Path, command: str, data: str, table: PropertyTable, at_least: int, *, resume: bool, **config: Any
) -> None:
    """Make `out` the folder of a run of `command`, or go on with the same run there.

    Raises:
        RunError: `out` holds another run or other files; or this one, without `resume`.
    """
    content = {"command": command, **about_data(data, table, at_least), **config}
    open_folder(out, content | {"threads": torch.get_num_threads()}, resume=resume)


def about_data(data: str, table: PropertyTable, at_least: int) -> dict[str, Any]:
    """What was asked for and what came of it, for the files of a run: by it a later run is told from this one."""
    return {
        "data": data,
        "source": table.source,
        "tasks": list(table.abbreviations),
        "at_least": at_least,
        "molecules": len(table.smiles),
    }


def prepare_shown(
    table: PropertyTable, seed: int, network: NetworkSettings | None = None, split: Split | None = None
) -> PreparedData:
    """`prepare`, with a progress bar for the features."""
    with progress_bar() as bar:
        task = bar.add_task("features", total=len(table.smiles))

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        network = network or NetworkSettings()
        reads = embedding_named(network.embedding).reads
        return prepare(table, seed=seed, reads=reads, depth=network.depth, progress=show, split=split)


def progress_bar() -> Progress:
    """What is counted, a bar, how many of how many, time passed and time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def single_threads(workers: int, dask: str | None) -> On:
    """Where to train, with one thread for each training also if that is this process: numbers and seconds are then the
    same for any number of workers.
    """
    if dask is None and workers == 1:
        torch.set_num_threads(1)
    return dask or workers


def command_typed(storage: str | None = None) -> str:
    """As it was given, but without the password of `storage`."""
    given = sys.argv[1:]
    if storage is not None:
        given = [argument.replace(storage, without_password(storage)) for argument in given]
    return shlex.join(["gate", *given])


def compared(
    out: Path,
    datasets: Mapping[int, PreparedData],
    methods: Sequence[Method],
    settings: Settings,
    config: Mapping[str, Any],
    *,
    on: On,
    storage: str | None = None,
    device: torch.device | None = None,
) -> Answers:
    """Train what is not in `out` yet, with a progress bar, and write the files of the run.

    Args:
        out: the run folder.
        datasets: one per seed, all of the same tasks.
        methods: what is compared.
        settings: of every training.
        config: what decides the numbers beside the data: studies of other searches are refused.
        on: where to train, see `bilevel_hpo.jobs.workers`.
        storage: where searches keep their studies; in `out` when left out.
        device: CPU when left out.
    """
    data = next(iter(datasets.values()))
    table = data.table
    asked = {"molecules": len(table.smiles), "labels": int(np.isfinite(table.labels).sum()), **config}
    setting = setting_of(out, data.abbreviations, asked, storage=storage)
    known = {method.name: method for method in (*METHODS, *LEARNED.values())}
    trainings = Trainings(datasets, settings, known, device or torch.device("cpu"))
    with locked(out), progress_bar() as bar:
        task = bar.add_task("trainings", total=None)
        answers = run_methods(
            trainings,
            methods,
            list(datasets),
            setting,
            on=on,
            together=trainings.together,
            progress=lambda done, total: bar.update(task, completed=done, total=total or None),
        )
        write_run(out, "comparison", datasets, methods, answers, setting, command=command_typed(storage))
    return answers


def finish(out: Path, answers: Answers) -> None:
    """Print the test RMSE of each answer, and write the report."""
    for (method, seed), answer in answers.items():
        scores = ", ".join(f"{task} {score:.3f}" for task, score in answer.trained.test.items())
        console.print(f"{method}, seed {seed}: test RMSE (standardised) {scores}", markup=False, highlight=False)
    report_shown(out)


def report_shown(folder: Path) -> None:
    """Write report.html from the files of a run folder, and say where it is."""
    console.print(f"report: {write_report(folder).resolve()}", markup=False, highlight=False, soft_wrap=True)
