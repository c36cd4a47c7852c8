"""`gate grid` and `gate tpe`: a search over symmetric λ; one driver, any number of workers."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from optuna.pruners import MedianPruner

from bilevel_hpo.comparison import Proposals, Searched
from bilevel_hpo.jobs import On
from bilevel_hpo.search import without_password
from gate_model.cli._device import resolve_device
from gate_model.cli._options import (
    DEFAULT,
    DEFAULT_VALUES,
    AtLeastOption,
    DaskOption,
    DataOption,
    DerivedOption,
    DeviceOption,
    EpochsOption,
    JoinOption,
    OutOption,
    ResumeOption,
    SeedOption,
    SmilesOption,
    TasksOption,
    ValuesOption,
    as_numbers,
)
from gate_model.cli._run import compared, finish, open_run, prepare_shown
from gate_model.cli.data import load_table
from gate_model.data.table import PropertyTable
from gate_model.experiments.compare import GRID_VALUES, check_size, grid_of, tpe_of
from gate_model.training.settings import Settings

__all__ = ["grid", "tpe"]

POPULATION = 9

StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="GATE_STORAGE",
        help="Where the Optuna study is kept: a journal file or the URL of a database. Default: a journal in --out.",
    ),
]
PruneOption = Annotated[
    bool, typer.Option("--prune", help="End trainings that are worse than the median of the earlier ones.")
]


def grid(
    out: OutOption,
    data: DataOption = "chemicals",
    tasks: TasksOption = None,
    smiles_column: SmilesOption = None,
    at_least: AtLeastOption = 1,
    derived: DerivedOption = False,
    join: JoinOption = None,
    values: ValuesOption = DEFAULT_VALUES,
    epochs: EpochsOption = DEFAULT.epochs,
    seed: SeedOption = 0,
    storage: StorageOption = None,
    prune: PruneOption = False,
    population: Annotated[
        int | None,
        typer.Option(min=1, help=f"Points to train in one, which is quicker. Default: {POPULATION}; 1 with --prune."),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Trainings at a time, one thread each; 1: in this process, with all its threads."),
    ] = 1,
    dask: DaskOption = None,
    device: DeviceOption = "auto",
    resume: ResumeOption = False,
) -> None:
    """Search symmetric λ on a grid; the rival that learned λ has to beat."""
    where = resolve_device(device)
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    axis = as_numbers("--values", values)
    if prune and (population or 1) > 1:
        raise ValueError(f"--population {population}: with --prune trainings end one by one; leave one of them out")
    population = population or (1 if prune else POPULATION)
    check_size(table.abbreviations, axis)
    method = replace(grid_of(axis, population=population), pruner=_pruner(epochs, prune=prune))
    about = {"values": list(axis), "population": population, "prune": prune}
    on = dask or workers
    _run(method, out, data, table, at_least, seed, Settings(epochs=epochs), about, storage, on, where, resume)


def tpe(
    out: OutOption,
    data: DataOption = "chemicals",
    tasks: TasksOption = None,
    smiles_column: SmilesOption = None,
    at_least: AtLeastOption = 1,
    derived: DerivedOption = False,
    join: JoinOption = None,
    low: Annotated[float, typer.Option(min=0.0, help="Smallest λ.")] = GRID_VALUES[0],
    high: Annotated[float, typer.Option(help="Largest λ.")] = GRID_VALUES[-1],
    trials: Annotated[int, typer.Option(min=1, help="Trainings.")] = 27,
    epoch_budget: Annotated[
        int | None,
        typer.Option(min=1, help="Instead of --trials: begin no training after so many epochs of all together."),
    ] = None,
    epochs: EpochsOption = DEFAULT.epochs,
    seed: SeedOption = 0,
    storage: StorageOption = None,
    prune: PruneOption = False,
    dask: DaskOption = None,
    device: DeviceOption = "auto",
    resume: ResumeOption = False,
) -> None:
    """Search symmetric λ with Optuna's TPE, one training a trial."""
    where = resolve_device(device)
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    axis = as_numbers("--low,--high", f"{low},{high}")
    found = tpe_of(axis, trials)
    if epoch_budget:
        found = replace(found, title=f"TPE search, {epoch_budget} epochs", how=Proposals("tpe", None, 1, epoch_budget))
    method = replace(found, pruner=_pruner(epochs, prune=prune))
    length = {"epochs": epoch_budget} if epoch_budget else {"trials": trials}
    about = {"values": list(axis), "prune": prune, "length": length}
    on = dask or 1
    _run(method, out, data, table, at_least, seed, Settings(epochs=epochs), about, storage, on, where, resume)


def _pruner(epochs: int, *, prune: bool) -> MedianPruner | None:
    return MedianPruner(n_warmup_steps=epochs // 3) if prune else None


def _run(
    method: Searched,
    out: Path,
    data: str,
    table: PropertyTable,
    at_least: int,
    seed: int,
    settings: Settings,
    about: Mapping[str, Any],
    storage: str | None,
    on: On,
    device: torch.device,
    resume: bool,
) -> None:
    config = {"seed": seed, "settings": asdict(settings), **about}
    shown = None if storage is None else without_password(storage)
    open_run(out, method.name, data, table, at_least, resume=resume, storage=shown, **config)
    prepared = prepare_shown(table, seed)
    finish(out, compared(out, {seed: prepared}, [method], settings, config, on=on, storage=storage, device=device))
