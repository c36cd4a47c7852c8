"""`gate compare`: learned λ, constant λ and searches for λ, compared on the same data."""
# ruff: noqa: PLC0415  What trains is imported by the command, so that its help is quick.

from dataclasses import asdict

import typer

from gate_model.cli._console import console
from gate_model.cli._options import (
    DEFAULT,
    DEFAULT_VALUES,
    DataOptions,
    EpochsOption,
    JobOptions,
    RunOptions,
    SeedOption,
    SeedsOption,
    ValuesOption,
    as_numbers,
)
from gate_model.cli._records import with_records

__all__ = ["app", "compare"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
@with_records
def compare(
    run: RunOptions,
    data: DataOptions,
    jobs: JobOptions,
    seeds: SeedsOption = 3,
    seed: SeedOption = 0,
    values: ValuesOption = DEFAULT_VALUES,
    epochs: EpochsOption = DEFAULT.epochs,
) -> None:
    """Compare learned λ with constant λ, a grid search and TPE on the same data, splits, seeds and epochs."""
    from bilevel_hpo.comparison import Method
    from bilevel_hpo.run_folder import open_folder
    from gate_model.cli._report import report_shown
    from gate_model.cli._run import compared, prepare_shown, single_threads, threads
    from gate_model.cli._table import load_shown
    from gate_model.experiments.compare import METHODS, check_size, grid_of, shared_values, single, too_many, tpe_of
    from gate_model.training.settings import Settings

    request = data.request()
    table = load_shown(request)
    axis = as_numbers("--values", values)
    names = table.abbreviations
    shared = too_many(names, axis)
    axis = shared_values(axis) if shared else axis
    points = len(axis) if shared else check_size(names, axis)
    settings, used = Settings(epochs=epochs), list(range(seed, seed + seeds))
    config = {"seeds": used, "values": list(axis), "settings": asdict(settings)}
    identity = {"command": "compare", **request.identity(table), **config, **threads()}
    open_folder(run.out, identity, resume=run.resume)
    methods: list[Method] = [*map(single, METHODS), grid_of(axis, shared=shared), tpe_of(axis, points, shared=shared)]
    if shared:
        console.print(f"{len(names)} tasks have too many pairs for a search: grid and TPE search one λ for all pairs")
    datasets = {each: prepare_shown(table, each, settings.network, request.split(table, each)) for each in used}
    compared(run.out, datasets, methods, settings, config, on=single_threads(jobs.workers, jobs.dask))
    report_shown(run.out)
