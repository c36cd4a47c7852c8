"""Does learned λ agree with the measured gain of a source? See docs/meaning.md."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from paper_studies.benchmark_run import BenchmarkRun
from paper_studies.command import CORES, RunArgument, command_typed, counted, show, start
from paper_studies.meaning.gain import gain_analysis
from paper_studies.meaning.labels import label_correlations
from paper_studies.meaning.learned_lambda import learned_lambdas, seeds_of
from paper_studies.meaning.removal import train_removals

from bilevel_hpo.run_folder import locked, open_folder
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.table import PropertyTable
from gate_model.model.embeddings import embedding_named

__all__ = ["main"]


def main(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for the results. It must be new, unless you resume.")],
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds of RUN to use, from the first on.")] = 3,
    population: Annotated[
        int,
        typer.Option(min=1, help="Number of trainings that are done together. More are faster and take more memory."),
    ] = 4,
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes that train at the same time, each in one thread.")
    ] = CORES,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of a Dask scheduler, such as tcp://10.0.0.1:8786. The trainings then run on its workers, and "
            "--workers is ignored.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")] = False,
) -> None:
    """Does learned λ agree with the measured gain of a source?

    The script trains, for each seed, GATE at λ = 1 with all sources, and again with each source removed in turn. RUN is
    the folder that `gate benchmark --out RUN` has written; the script takes the molecules, the splits, the settings and
    the learned λ from it. The run must have at least three tasks, at least --seeds seeds, and a method that learns λ,
    such as budget.

    It writes to --out: gain.csv, rmse.csv, agreement.csv, stability.csv, variance.csv, pairs.csv, findings.md,
    findings.json, and figures as HTML and PNG.

    Example: python examples/paper/removal.py runs/leaderboard --seeds 3 --out runs/removal
    """
    benchmark = BenchmarkRun(run)
    learned = learned_lambdas(benchmark)
    known = seeds_of(learned)
    if seeds > len(known):
        raise benchmark.lacks(f"λ for --seeds {seeds}, having it for {len(known)}", seeds=seeds)
    used, table = known[:seeds], benchmark.table()
    asked: dict[str, Any] = {"run": benchmark.config, "seeds": used, "population": population}
    open_folder(out, {"command": "experiment removal", **asked}, resume=resume)
    datasets = {seed: _prepared(benchmark, table, seed) for seed in used}
    if dask is None and workers == 1:
        torch.set_num_threads(1)  # as in the processes of several workers: the same numbers for any --workers
    with locked(out), counted("trainings") as told:
        rmse = train_removals(
            out, datasets, benchmark.settings, population=population, on=dask or workers, progress=told
        )
    labels = label_correlations(table.labels, (benchmark.split(table, seed).train for seed in known))
    about = {"command": command_typed(), "run": benchmark.config}
    show(out, gain_analysis(rmse, used, learned, benchmark.tasks, labels, about))


def _prepared(benchmark: BenchmarkRun, table: PropertyTable, seed: int) -> PreparedData:
    """Return the molecules with the split that the run had for `seed`."""
    network = benchmark.settings.network
    reads = embedding_named(network.embedding).reads
    with counted(f"features, seed {seed}") as told:
        return prepare(
            table, seed=seed, reads=reads, depth=network.depth, split=benchmark.split(table, seed), progress=told
        )


if __name__ == "__main__":
    start(main)
