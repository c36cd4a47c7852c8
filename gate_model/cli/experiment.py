"""`gate experiment`: repeat Figure 1 of the paper."""
# ruff: noqa: PLC0415  What trains is imported by the command, so that its help is quick.

from dataclasses import asdict
from typing import Annotated

import typer

from gate_model.cli._console import console
from gate_model.cli._moved import add_moved
from gate_model.cli._options import CORES, DEFAULT, DaskOption, EpochsOption, OutOption, ResumeOption, WorkersOption
from gate_model.training.settings import Settings

__all__ = ["app"]

app = typer.Typer(
    help="Repeat Figure 1 of the paper. Its tables, Figure 3 and Discussion are scripts of the repository, "
    "in examples/paper.",
    no_args_is_help=True,
    add_completion=False,
)
add_moved(app)


@app.callback()
def experiments() -> None:
    """Repeat Figure 1 of the paper."""


@app.command("figure-1")
def figure_1_command(
    out: OutOption,
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds, at least 2. Each has its own split.")] = 5,
    at_least: Annotated[
        int, typer.Option(min=1, max=3, help="Leave out molecules with fewer of the three labels.")
    ] = 3,
    epochs: EpochsOption = DEFAULT.epochs,
    population: Annotated[
        int, typer.Option(min=1, help="Number of grid points that are trained together, which is faster.")
    ] = 25,
    workers: WorkersOption = CORES,
    dask: DaskOption = None,
    resume: ResumeOption = False,
) -> None:
    """Map the RMSE over symmetric λ of DS, HV and BP: the paper's 125 points, 125 from 0 to 3, and learned λ."""
    from bilevel_hpo.run_folder import locked, open_folder
    from gate_model.cli._progress import progress_bar
    from gate_model.cli._run import command_typed, prepare_shown
    from gate_model.data.chemicals.table import load_chemicals
    from gate_model.experiments.figure_1 import GRIDS, TASKS, figure_1

    table = load_chemicals(list(TASKS)).with_at_least(at_least)
    settings = Settings(epochs=epochs)
    grids = {name: list(values) for name, values in GRIDS.items()}
    config = {"at_least": at_least, "molecules": len(table.smiles), "grids": grids, "settings": asdict(settings)}
    open_folder(out, {"command": "experiment figure-1", "seeds": seeds, **config}, resume=resume)
    datasets = {seed: prepare_shown(table, seed) for seed in range(seeds)}
    with locked(out), progress_bar() as bar:
        task = bar.add_task("trainings")
        figure_1(
            out,
            datasets,
            settings,
            population=population,
            on=dask or workers,
            command=command_typed(),
            progress=lambda done, trainings: bar.update(task, completed=done, total=trainings),
        )
    console.print((out / "findings.md").read_text(encoding="utf-8"), markup=False, highlight=False)
