"""`gate experiment`: figures of the paper, repeated."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gate_model.cli_data import console
from gate_model.data.chemicals_table import load_chemicals
from gate_model.data.prepared import prepare
from gate_model.experiments.figure_1 import GRIDS, TASKS, figure_1
from gate_model.runs import open_folder
from gate_model.training import Settings

__all__ = ["app"]

app = typer.Typer(help="Repeat a figure of the paper.", no_args_is_help=True)


@app.callback()
def experiments() -> None:
    """Repeat a figure of the paper."""


@app.command("figure-1")
def figure_1_command(
    out: Annotated[Path, typer.Option("--out", help="The run folder; must not hold another run.")],
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds; each has its own split.")] = 5,
    at_least: Annotated[int, typer.Option(min=1, max=3, help="Keep molecules with at least this many labels.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = Settings().epochs,
    population: Annotated[int, typer.Option(min=1, help="Grid points that are trained in one.")] = 25,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")] = False,
) -> None:
    """RMSE over symmetric λ of DS, HV and BP: the paper's 125 points, 125 from 0 to 3, and learned λ among them."""
    table = load_chemicals(list(TASKS)).with_at_least(at_least)
    settings = Settings(epochs=epochs)
    grids = {name: list(values) for name, values in GRIDS.items()}
    config = {"at_least": at_least, "molecules": len(table.smiles), "grids": grids, "settings": asdict(settings)}
    open_folder(out, {"command": "experiment figure-1", "seeds": seeds, **config}, resume=resume)
    datasets = {seed: prepare(table, seed=seed) for seed in range(seeds)}
    columns = (
        TextColumn("trainings"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("trainings")
        figure_1(
            out,
            datasets,
            settings,
            population=population,
            command=shlex.join(["gate", *sys.argv[1:]]),
            progress=lambda done, trainings: bar.update(task, completed=done, total=trainings),
        )
    console.print((out / "findings.md").read_text(encoding="utf-8"), markup=False, highlight=False)
