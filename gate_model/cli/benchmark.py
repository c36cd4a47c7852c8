"""`gate benchmark`: learned λ and its rivals on the same splits and seeds."""

from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bilevel_hpo.comparison import run_methods
from bilevel_hpo.run_folder import locked, open_folder
from gate_model.cli._options import (
    CORES,
    DEFAULT,
    AtLeastOption,
    DaskOption,
    DataOption,
    DerivedOption,
    EpochsOption,
    JoinOption,
    OutOption,
    Reader,
    SeedsOption,
    SmilesOption,
    TasksOption,
    WorkersOption,
)
from gate_model.cli._run import (
    about_data,
    command_typed,
    console,
    prepare_shown,
    progress_bar,
    report_shown,
    single_threads,
)
from gate_model.cli.data import load_table
from gate_model.data.prepared import PreparedData
from gate_model.data.splits import SPLIT_METHOD, split_of
from gate_model.data.table import PropertyTable
from gate_model.experiments.leaderboard._outside import imported
from gate_model.experiments.leaderboard.board import rows_of, write_board
from gate_model.experiments.leaderboard.table import ENTRIES, entries_of, methods_of
from gate_model.experiments.leaderboard.trainings import BenchmarkTrainings
from gate_model.experiments.record import setting_of, write_run
from gate_model.model.settings import NetworkSettings
from gate_model.training.settings import settings_for

__all__ = ["benchmark"]

_DEFAULT = "budget,lambda=1,lambda=0,direct,lambda=1-plain,lambda=0-plain"


class SplitKind(StrEnum):
    """Ways of splitting molecules."""

    scaffold = "scaffold"
    random = "random"


_SPLITS = {SplitKind.scaffold: SPLIT_METHOD, SplitKind.random: "random; one split per seed"}


def benchmark(
    out: OutOption,
    data: DataOption = "chemicals",
    tasks: TasksOption = None,
    smiles_column: SmilesOption = None,
    at_least: AtLeastOption = 1,
    derived: DerivedOption = False,
    join: JoinOption = None,
    methods: Annotated[str, typer.Option(help=f"Comma-separated, or 'all'. Known: {', '.join(ENTRIES)}.")] = _DEFAULT,
    seeds: SeedsOption = 5,
    seed: Annotated[int, typer.Option(help="The first one.")] = 0,
    split: Annotated[SplitKind, typer.Option(help="Of the molecules.")] = SplitKind.scaffold,
    fraction: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of the train and validation molecules that is kept.")
    ] = 1.0,
    embedding: Annotated[Reader, typer.Option(help="What reads the molecules in GATE.")] = Reader.fingerprint,
    epochs: EpochsOption = DEFAULT.epochs,
    workers: WorkersOption = CORES,
    dask: DaskOption = None,
    python: Annotated[Path | None, typer.Option(help="An interpreter that can import chemprop 2.3.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; rows and seeds may differ.")
    ] = False,
) -> None:
    """Learned λ and what one could do instead, side by side: the leaderboard."""
    names = list(ENTRIES) if methods == "all" else [name.strip() for name in methods.split(",")]
    if methods == "all" and python is None:
        names = [name for name in names if not name.startswith("chemprop")]
        console.print("without --python there are no rows of chemprop")
    entries = entries_of(names)
    if python is None and any(entry.name.startswith("chemprop") for entry in entries):
        raise ValueError("--methods: chemprop needs --python, an interpreter that can import chemprop 2.3")
    for entry in entries:
        if entry.needs is not None:
            imported(entry.needs)
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    settings = replace(settings_for(embedding.value), epochs=epochs)
    asked = about_data(data, table, at_least)
    asked |= {"derived": derived, "join": None if join is None else str(join), "smiles_column": smiles_column}
    asked |= {"split": str(split), "fraction": fraction, "settings": asdict(settings)}
    open_folder(out, {"command": "benchmark", **asked}, resume=resume)
    datasets = {each: _prepared(table, each, split, fraction, settings.network) for each in range(seed, seed + seeds)}
    rows, setting = methods_of(entries, datasets), setting_of(out, table.abbreviations, asked)
    with locked(out), progress_bar() as bar:
        task = bar.add_task("trainings", total=None)
        answers = run_methods(
            BenchmarkTrainings(datasets, settings, python),
            rows,
            list(datasets),
            setting,
            on=single_threads(workers, dask),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    facts = {
        **asked,
        "epochs": epochs,
        "units": {one.abbreviation: one.unit for one in table.tasks},
        "labels": {
            one.abbreviation: int(count)
            for one, count in zip(table.tasks, np.isfinite(table.labels).sum(0), strict=True)
        },
        "sizes": next(iter(datasets.values())).split.sizes(),
    }
    write_run(
        out, "leaderboard", datasets, rows, answers, setting, command=command_typed(), split=_SPLITS[split], more=facts
    )
    write_board(out, rows_of(names, answers), facts)
    console.print((out / "leaderboard.md").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    report_shown(out)


def _prepared(
    table: PropertyTable, seed: int, kind: SplitKind, fraction: float, network: NetworkSettings
) -> PreparedData:
    return prepare_shown(table, seed, network, split_of(table, kind.value, fraction, seed=seed))
