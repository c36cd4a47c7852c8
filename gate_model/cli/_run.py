"""The steps that the commands with trainings share: prepare the data, set the threads, train, and show the result."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from bilevel_hpo.comparison import Answers, Method, run_methods
from bilevel_hpo.jobs import On
from bilevel_hpo.run_folder import locked
from bilevel_hpo.search import without_password
from gate_model.cli._console import console
from gate_model.cli._progress import progress_bar
from gate_model.cli._report import report_shown
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.splits import Split
from gate_model.data.table import PropertyTable
from gate_model.experiments.compare import METHODS
from gate_model.experiments.record import setting_of, write_run
from gate_model.experiments.trainings import Trainings
from gate_model.model.embeddings import embedding_named
from gate_model.model.settings import NetworkSettings
from gate_model.training.methods import LEARNED
from gate_model.training.settings import Settings

__all__ = ["command_typed", "compared", "finish", "prepare_shown", "single_threads", "threads"]

optuna.logging.set_verbosity(optuna.logging.WARNING)  # its messages would break the progress bar


def threads() -> dict[str, int]:
    """Return the number of threads, for config.json: the last digits of a training depend on it."""
    return {"threads": torch.get_num_threads()}


def prepare_shown(
    table: PropertyTable, seed: int, network: NetworkSettings | None = None, split: Split | None = None
) -> PreparedData:
    """Prepare the data as `prepare` does, and show a progress bar while the features are computed."""
    with progress_bar() as bar:
        task = bar.add_task("features", total=len(table.smiles))

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        network = network or NetworkSettings()
        reads = embedding_named(network.embedding).reads
        return prepare(table, seed=seed, reads=reads, depth=network.depth, progress=show, split=split)


def single_threads(workers: int, dask: str | None) -> On:
    """Return where to train, with one thread for each training.

    This process gets one thread too if it is the only worker, so that numbers and seconds do not depend on the number
    of workers.
    """
    if dask is None and workers == 1:
        torch.set_num_threads(1)
    return dask or workers


def command_typed(storage: str | None = None) -> str:
    """Return the command as the user typed it, but without the password in `storage`."""
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
    """Run the trainings that are not in `out` yet, with a progress bar, and write the files of the run.

    Args:
        out: the run folder.
        datasets: prepared data by seed, all with the same tasks.
        methods: the methods to compare.
        settings: hyperparameters of every training.
        config: everything besides the data that decides the numbers; a study with another config is refused.
        on: where to train, see `bilevel_hpo.jobs.workers`.
        storage: where searches store their studies; default: in `out`.
        device: the device of each training; default: the CPU.
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
