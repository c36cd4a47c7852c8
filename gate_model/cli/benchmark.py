"""`gate benchmark`: learned λ and its alternatives on the same splits and seeds."""
# ruff: noqa: PLC0415  What trains is imported by the command, so that its help is quick.

from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gate_model.cli._console import console
from gate_model.cli._options import (
    DEFAULT,
    DataOptions,
    EpochsOption,
    JobOptions,
    OutOption,
    Reader,
    SeedsOption,
)
from gate_model.cli._records import with_records
from gate_model.training.settings import settings_for

__all__ = ["app", "benchmark"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_DEFAULT = "budget,lambda=1,lambda=0,direct,lambda=1-plain,lambda=0-plain"


class SplitKind(StrEnum):
    """The ways of splitting the molecules."""

    scaffold = "scaffold"
    random = "random"


def _list_methods(asked: bool) -> None:
    if asked:
        from gate_model.experiments.leaderboard.table import ENTRIES

        for entry in ENTRIES.values():
            typer.echo(f"{entry.name:20} {entry.title}")
        raise typer.Exit


@app.command()
@with_records
def benchmark(
    out: OutOption,
    data: DataOptions,
    jobs: JobOptions,
    methods: Annotated[
        str, typer.Option(help="Methods to compare, separated by commas, or all. --list-methods shows their names.")
    ] = _DEFAULT,
    list_methods: Annotated[
        bool,
        typer.Option(
            "--list-methods",
            is_eager=True,
            callback=_list_methods,
            help="Print the name of every method with its title, and exit.",
        ),
    ] = False,
    seeds: SeedsOption = 5,
    seed: Annotated[int, typer.Option(help="The first seed; the others follow it one by one.")] = 0,
    split: Annotated[
        SplitKind,
        typer.Option(
            help="How molecules are split. scaffold: the test molecules have other scaffolds than the training "
            "molecules, which is harder; random: by chance."
        ),
    ] = SplitKind.scaffold,
    fraction: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=1.0,
            help="Share of the training and validation molecules to keep, to see how methods do with less data.",
        ),
    ] = 1.0,
    embedding: Annotated[
        Reader,
        typer.Option(
            help="How GATE reads molecules. fingerprint: fast; graph: message passing over atoms and bonds, slower."
        ),
    ] = Reader.fingerprint,
    epochs: EpochsOption = DEFAULT.epochs,
    python: Annotated[
        Path | None,
        typer.Option(help="Path of a Python interpreter with chemprop 2.3, for the methods that train chemprop."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the run in --out. --methods and --seeds may differ, to add to it."),
    ] = False,
) -> None:
    """Compare learned λ with many alternatives on the same splits and seeds; write a leaderboard."""
    import numpy as np

    from bilevel_hpo.comparison import run_methods
    from bilevel_hpo.run_folder import locked, open_folder
    from gate_model.cli._progress import progress_bar
    from gate_model.cli._report import report_shown
    from gate_model.cli._run import command_typed, prepare_shown, single_threads
    from gate_model.cli._table import load_shown
    from gate_model.data.splits import SPLIT_METHOD
    from gate_model.experiments.leaderboard._outside import imported
    from gate_model.experiments.leaderboard.board import rows_of, write_board
    from gate_model.experiments.leaderboard.table import ENTRIES, entries_of, methods_of
    from gate_model.experiments.leaderboard.trainings import BenchmarkTrainings
    from gate_model.experiments.record import setting_of, write_run

    names = list(ENTRIES) if methods == "all" else [name.strip() for name in methods.split(",")]
    if methods == "all" and python is None:
        names = [name for name in names if not name.startswith("chemprop")]
        console.print("the methods that train chemprop are left out: they need --python")
    entries = entries_of(names)
    if python is None and any(entry.name.startswith("chemprop") for entry in entries):
        raise ValueError("--methods: chemprop needs --python, an interpreter that can import chemprop 2.3")
    for entry in entries:
        if entry.needs is not None:
            imported(entry.needs)
    request = data.request(split.value, fraction)
    table = load_shown(request)
    settings, used = replace(settings_for(embedding.value), epochs=epochs), range(seed, seed + seeds)
    asked = {**request.identity(table), "settings": asdict(settings)}
    open_folder(out, {"command": "benchmark", **asked}, resume=resume)
    datasets = {each: prepare_shown(table, each, settings.network, request.split(table, each)) for each in used}
    rows, setting = methods_of(entries, datasets), setting_of(out, table.abbreviations, asked)
    with locked(out), progress_bar() as bar:
        task = bar.add_task("trainings", total=None)
        answers = run_methods(
            BenchmarkTrainings(datasets, settings, python),
            rows,
            list(datasets),
            setting,
            on=single_threads(jobs.workers, jobs.dask),
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
    words = SPLIT_METHOD if split is SplitKind.scaffold else "random; one split per seed"
    write_run(out, "leaderboard", datasets, rows, answers, setting, command=command_typed(), split=words, more=facts)
    write_board(out, rows_of(names, answers), facts)
    console.print((out / "leaderboard.md").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    report_shown(out)
