"""`gate grid`: a search over symmetric λ on a grid."""
# ruff: noqa: PLC0415  What trains is imported by the command, so that its help is quick.

from typing import Annotated

import typer

from gate_model.cli._options import (
    DEFAULT,
    DEFAULT_VALUES,
    DaskOption,
    DataOptions,
    DeviceOption,
    EpochsOption,
    RunOptions,
    SeedOption,
    StorageOptions,
    ValuesOption,
    as_numbers,
)
from gate_model.cli._records import with_records

__all__ = ["app", "grid"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

POPULATION = 9


@app.command()
@with_records
def grid(
    run: RunOptions,
    data: DataOptions,
    kept: StorageOptions,
    values: ValuesOption = DEFAULT_VALUES,
    epochs: EpochsOption = DEFAULT.epochs,
    seed: SeedOption = 0,
    population: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Number of grid points trained together, which is faster. Default: {POPULATION}; 1 with --prune.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of trainings that run at the same time, each in one thread. 1: one after another, with all "
            "threads.",
        ),
    ] = 1,
    dask: DaskOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Search symmetric λ on a grid: one training for each point, to compare with learned λ."""
    from gate_model.cli._device import resolve_device
    from gate_model.cli._search import searched
    from gate_model.cli._table import load_shown
    from gate_model.experiments.compare import check_size, grid_of

    where, request = resolve_device(device), data.request()
    table = load_shown(request)
    axis = as_numbers("--values", values)
    if kept.prune and (population or 1) > 1:
        raise ValueError(
            f"--population {population}: with --prune trainings run one at a time; leave out one of the two options"
        )
    population = population or (1 if kept.prune else POPULATION)
    check_size(table.abbreviations, axis)
    searched(
        grid_of(axis, population=population),
        run,
        kept,
        request,
        table,
        seed=seed,
        epochs=epochs,
        about={"values": list(axis), "population": population},
        on=dask or workers,
        device=where,
    )
