"""`gate experiment stability` and `gate experiment removal`: does λ mean anything?"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from gate_model.cli_data import load_table
from gate_model.cli_options import CORES, JoinOption, OutOption, ResumeOption, SmilesOption, WorkersOption
from gate_model.cli_run import command_typed, console, prepare_shown, progress_bar
from gate_model.data.table import PropertyTable
from gate_model.experiments.benchmark_run import BenchmarkRun
from gate_model.experiments.meaning.gain import write_gain
from gate_model.experiments.meaning.labels import label_correlations
from gate_model.experiments.meaning.learned_lambda import LearnedLambda, learned_lambdas
from gate_model.experiments.meaning.removal import Removal, train_removals
from gate_model.experiments.meaning.stability import write_stability
from gate_model.runs import open_folder

__all__ = ["add_commands"]

RunArgument = Annotated[Path, typer.Argument(help="The folder of a finished `gate benchmark` run.")]
PngOption = Annotated[bool, typer.Option("--png", help="Pictures beside the pages; needs kaleido and Chrome.")]


def add_commands(app: typer.Typer) -> None:
    """Add both to `gate experiment`."""
    app.command("stability")(stability)
    app.command("removal")(removal)


def stability(
    run: RunArgument,
    out: OutOption,
    smiles_column: SmilesOption = None,
    join: JoinOption = None,
    png: PngOption = False,
) -> None:
    """Is learned λ the same in every seed, does chemistry show in it? Trains nothing."""
    benchmark = BenchmarkRun(run)
    learned = learned_lambdas(benchmark)
    table = _table(benchmark, smiles_column, join)
    labels = _labels(benchmark, table, learned)
    open_folder(out, {"command": "experiment stability", "run": benchmark.config}, resume=False)
    write_stability(out, learned, benchmark.tasks, labels, _about(benchmark), png=png)
    _print(out)


def removal(
    run: RunArgument,
    out: OutOption,
    seeds: Annotated[int, typer.Option(min=2, help="The first so many seeds of the run.")] = 3,
    relative_losses: Annotated[bool, typer.Option("--relative-losses", help="Losses enter as logarithms.")] = False,
    population: Annotated[int, typer.Option(min=1, help="Trainings that are done as one; memory grows.")] = 4,
    workers: WorkersOption = CORES,
    smiles_column: SmilesOption = None,
    join: JoinOption = None,
    png: PngOption = False,
    resume: ResumeOption = False,
) -> None:
    """Does learned λ agree with what a source is worth? Trains λ = 1 with every source removed in turn."""
    benchmark = BenchmarkRun(run)
    learned = learned_lambdas(benchmark)
    known = sorted({seed for each in learned for seed in each.seeds})
    if seeds > len(known):
        raise ValueError(f"--seeds {seeds}: {run} has λ for {len(known)} seeds; {benchmark.adding(f'--seeds {seeds}')}")
    table = _table(benchmark, smiles_column, join)
    settings = replace(benchmark.settings, relative_losses=relative_losses)
    asked: dict[str, Any] = {"run": benchmark.config, "seeds": known[:seeds], "settings": asdict(settings)}
    open_folder(out, {"command": "experiment removal", **asked, "population": population}, resume=resume)
    datasets = {
        seed: prepare_shown(table, seed, settings.embedding, benchmark.split(table, seed)) for seed in known[:seeds]
    }
    with progress_bar() as bar:
        task = bar.add_task("trainings", total=None)
        rmse = train_removals(
            out / "jobs",
            datasets,
            Removal(settings, population, workers),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    labels = _labels(benchmark, table, learned)
    write_gain(out, rmse, known[:seeds], learned, benchmark.tasks, labels, _about(benchmark), png=png)
    _print(out)


def _table(run: BenchmarkRun, smiles_column: str | None, join: Path | None) -> PropertyTable:
    """The molecules of the run."""
    # A run keeps no option of its own for derived labels: its source says it.
    derived = "with derived labels" in run.config["source"]
    data, tasks, at_least = run.config["data"], ",".join(run.tasks), run.config["at_least"]
    return run.checked(load_table(data, tasks, smiles_column, at_least, derived=derived, join=join))


def _labels(run: BenchmarkRun, table: PropertyTable, learned: list[LearnedLambda]) -> NDArray[np.float64]:
    seeds = sorted({seed for each in learned for seed in each.seeds})
    return label_correlations(table.labels, (run.split(table, seed).train for seed in seeds))


def _about(run: BenchmarkRun) -> dict[str, Any]:
    return {"command": command_typed(), "run": run.config}


def _print(out: Path) -> None:
    console.print((out / "findings.md").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
