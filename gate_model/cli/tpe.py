"""`gate tpe`: a search over symmetric λ with Optuna's TPE sampler."""
# ruff: noqa: PLC0415  What trains is imported by the command, so that its help is quick.

from dataclasses import replace
from typing import Annotated

import typer

from gate_model.cli._options import (
    DEFAULT,
    GRID_VALUES,
    DaskOption,
    DataOptions,
    DeviceOption,
    EpochsOption,
    RunOptions,
    SeedOption,
    StorageOptions,
    as_numbers,
)
from gate_model.cli._records import with_records

__all__ = ["app", "tpe"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
@with_records
def tpe(
    run: RunOptions,
    data: DataOptions,
    kept: StorageOptions,
    low: Annotated[float, typer.Option(min=0.0, help="Smallest λ to try, at least 0.")] = GRID_VALUES[0],
    high: Annotated[float, typer.Option(help="Largest λ to try.")] = GRID_VALUES[-1],
    trials: Annotated[int, typer.Option(min=1, help="Number of trainings.")] = 27,
    epoch_budget: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Start no new training once all trainings together have had this many epochs. Replaces --trials; use "
            "it with --prune.",
        ),
    ] = None,
    epochs: EpochsOption = DEFAULT.epochs,
    seed: SeedOption = 0,
    dask: DaskOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Search symmetric λ with Optuna's TPE sampler: one training for each trial."""
    from bilevel_hpo.comparison import Proposals
    from gate_model.cli._device import resolve_device
    from gate_model.cli._search import searched
    from gate_model.cli._table import load_shown
    from gate_model.experiments.compare import tpe_of

    where, request = resolve_device(device), data.request()
    table = load_shown(request)
    axis = as_numbers("--low,--high", f"{low},{high}")
    method = tpe_of(axis, trials)
    if epoch_budget:
        how = Proposals("tpe", None, 1, epoch_budget)
        method = replace(method, title=f"TPE search, {epoch_budget} epochs", how=how)
    length = {"epochs": epoch_budget} if epoch_budget else {"trials": trials}
    searched(
        method,
        run,
        kept,
        request,
        table,
        seed=seed,
        epochs=epochs,
        about={"values": list(axis), "length": length},
        on=dask or 1,
        device=where,
    )
