"""`gate experiment stability` and `gate experiment removal`: does λ mean anything?"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from bilevel_hpo.run_folder import locked, open_folder
from gate_model.cli._analysis import AnalysisOption, RunArgument, write_shown
from gate_model.cli._options import CORES, DaskOption, OutOption, ResumeOption, WorkersOption
from gate_model.cli._run import command_typed, prepare_shown, progress_bar, single_threads
from gate_model.cli.data import load_table
from gate_model.data.table import PropertyTable
from gate_model.experiments.analysis import check_folder
from gate_model.experiments.benchmark_run import BenchmarkRun
from gate_model.experiments.meaning.gain import gain_analysis
from gate_model.experiments.meaning.labels import label_correlations
from gate_model.experiments.meaning.learned_lambda import LearnedLambda, learned_lambdas
from gate_model.experiments.meaning.removal import train_removals
from gate_model.experiments.meaning.stability import stability_analysis

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add both to `gate experiment`."""
    app.command("stability")(stability)
    app.command("removal")(removal)


def stability(run: RunArgument, out: AnalysisOption) -> None:
    """Is learned λ the same in every seed, does chemistry show in it? Trains nothing."""
    check_folder(out, "stability")
    benchmark = BenchmarkRun(run)
    learned = learned_lambdas(benchmark)
    labels = _labels(benchmark, _table(benchmark), learned)
    write_shown(out, stability_analysis(learned, benchmark.tasks, labels, _about(benchmark)))


def removal(
    run: RunArgument,
    out: OutOption,
    seeds: Annotated[int, typer.Option(min=2, help="The first so many seeds of the run.")] = 3,
    population: Annotated[int, typer.Option(min=1, help="Trainings that are done as one; memory grows.")] = 4,
    workers: WorkersOption = CORES,
    dask: DaskOption = None,
    resume: ResumeOption = False,
) -> None:
    """Does learned λ agree with what a source is worth? Trains λ = 1 with every source removed in turn."""
    benchmark = BenchmarkRun(run)
    learned = learned_lambdas(benchmark)
    known = sorted({seed for each in learned for seed in each.seeds})
    if seeds > len(known):
        raise benchmark.lacks(f"λ for --seeds {seeds}, having it for {len(known)}", seeds=seeds)
    table, settings = _table(benchmark), benchmark.settings
    asked: dict[str, Any] = {"run": benchmark.config, "seeds": known[:seeds], "population": population}
    open_folder(out, {"command": "experiment removal", **asked}, resume=resume)
    datasets = {
        seed: prepare_shown(table, seed, settings.network, benchmark.split(table, seed)) for seed in known[:seeds]
    }
    with locked(out), progress_bar() as bar:
        task = bar.add_task("trainings", total=None)
        rmse = train_removals(
            out,
            datasets,
            settings,
            population=population,
            on=single_threads(workers, dask),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    labels = _labels(benchmark, table, learned)
    write_shown(out, gain_analysis(rmse, known[:seeds], learned, benchmark.tasks, labels, _about(benchmark)))


def _table(run: BenchmarkRun) -> PropertyTable:
    """The molecules of the run."""
    asked, tasks = run.config, ",".join(run.tasks)
    join = None if asked["join"] is None else Path(asked["join"])
    return run.checked(
        load_table(asked["data"], tasks, asked["smiles_column"], asked["at_least"], derived=asked["derived"], join=join)
    )


def _labels(run: BenchmarkRun, table: PropertyTable, learned: list[LearnedLambda]) -> NDArray[np.float64]:
    seeds = sorted({seed for each in learned for seed in each.seeds})
    return label_correlations(table.labels, (run.split(table, seed).train for seed in seeds))


def _about(run: BenchmarkRun) -> dict[str, Any]:
    return {"command": command_typed(), "run": run.config}
