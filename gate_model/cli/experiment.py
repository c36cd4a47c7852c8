"""`gate experiment`: figures and tables of the paper, repeated, and what comes of a benchmark run."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bilevel_hpo.run_folder import locked, open_folder
from gate_model.cli._analysis import AnalysisOption, RunArgument, write_shown
from gate_model.cli._experiment_lambda import add_commands
from gate_model.cli._options import CORES, DEFAULT, DaskOption, EpochsOption, OutOption, ResumeOption, WorkersOption
from gate_model.cli._run import command_typed, console, prepare_shown, progress_bar
from gate_model.data.chemicals.table import load_chemicals
from gate_model.experiments.analysis import Analysis, check_folder
from gate_model.experiments.figure_1 import GRIDS, TASKS, figure_1
from gate_model.experiments.paper.discussion import discussion
from gate_model.experiments.paper.figure_3 import figure_3
from gate_model.experiments.paper.table_1 import table_1
from gate_model.experiments.paper.table_2 import table_2
from gate_model.training.settings import Settings

__all__ = ["app"]

app = typer.Typer(help="Repeat the paper, or look into a benchmark run.", no_args_is_help=True)
add_commands(app)


@app.callback()
def experiments() -> None:
    """Repeat the paper, or look into a benchmark run."""


@app.command("figure-1")
def figure_1_command(
    out: OutOption,
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds; each has its own split.")] = 5,
    at_least: Annotated[int, typer.Option(min=1, max=3, help="Keep molecules with at least this many labels.")] = 3,
    epochs: EpochsOption = DEFAULT.epochs,
    population: Annotated[int, typer.Option(min=1, help="Grid points that are trained in one.")] = 25,
    workers: WorkersOption = CORES,
    dask: DaskOption = None,
    resume: ResumeOption = False,
) -> None:
    """RMSE over symmetric λ of DS, HV and BP: the paper's 125 points, 125 from 0 to 3, and learned λ among them."""
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


@app.command("table-1")
def table_1_command(run: RunArgument, out: AnalysisOption) -> None:
    """RMSE of every task under constant and learned λ, beside the paper's."""
    _analyse("table_1", table_1, run, out)


@app.command("table-2")
def table_2_command(run: RunArgument, out: AnalysisOption) -> None:
    """How many tasks a learned λ improves, and by how much, against GATE and against λ = 0."""
    _analyse("table_2", table_2, run, out)


@app.command("figure-3")
def figure_3_command(run: RunArgument, out: AnalysisOption) -> None:
    """Validation RMSE over the epochs with and without learned λ: faster, narrower?"""
    _analyse("figure_3", figure_3, run, out)


@app.command("discussion")
def discussion_command(run: RunArgument, out: AnalysisOption) -> None:
    """The quadratic variations of λ: are 95 % under 0.1, and what would that mean?"""
    _analyse("discussion", discussion, run, out)


def _analyse(table: str, analysis: Callable[[Path], Analysis], run: Path, out: Path) -> None:
    check_folder(out, table)
    write_shown(out, analysis(run))
