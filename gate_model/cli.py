"""The command `gate`: build data, learn λ, search it, compare, predict, report."""

import os
import shlex
import sys
import time
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import optuna
import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bilevel_hpo.search import without_password
from gate_model import cli_data, cli_experiments
from gate_model.checkpoints import Checkpoints
from gate_model.cli_benchmark import benchmark
from gate_model.cli_data import (
    AtLeastOption,
    DataOption,
    DerivedOption,
    JoinOption,
    SmilesOption,
    TasksOption,
    console,
    load_table,
)
from gate_model.data.inputs import Embedding
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.table import DataError, PropertyTable
from gate_model.experiments.compare import METHODS, Comparison, compare
from gate_model.experiments.outcome import Outcome, outcome, write_outcomes
from gate_model.experiments.search import GRID_VALUES, check_size, run_search, shared_values, too_many
from gate_model.live import live_training
from gate_model.methods import LEARNED, pairs
from gate_model.model import GATE
from gate_model.model_card import write_model_card
from gate_model.prediction import predict_file
from gate_model.report import write_report
from gate_model.runs import RunError, open_folder, write_csv
from gate_model.saved_model import load_model, model_of, save_model
from gate_model.training import SETTINGS, Settings, resolve_device, train

__all__ = ["app", "main"]

app = typer.Typer(
    help="Predict molecular properties with GATE, and learn how much each property may teach another.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Start with:  [bold]gate compare --tasks DS,HV,BP --at-least 3 --out runs/demo[/bold]",
)
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_experiments.app, name="experiment")
app.command()(benchmark)
DEFAULT = Settings()
DEFAULT_VALUES = ",".join(str(value) for value in GRID_VALUES)
POPULATION = 9
CORES = os.cpu_count() or 1


class LearningRate(StrEnum):
    """Schedules of the learning rate."""

    cosine = "cosine"
    one_cycle = "one-cycle"


class Digits(StrEnum):
    """Precisions of the networks."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Reader(StrEnum):
    """Embeddings of molecules."""

    fingerprint = "fingerprint"
    graph = "graph"


class Learner(StrEnum):
    """Methods of `gate learn`."""

    budget = "budget"
    direct = "direct"


OutOption = Annotated[Path, typer.Option("--out", help="The run folder; must not hold another run.")]
SeedOption = Annotated[int, typer.Option(help="Decides split, initial weights and batches.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="Epochs of each training.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")]
ValuesOption = Annotated[str, typer.Option(help="Values of each λ, comma-separated.")]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="GATE_STORAGE",
        help="Journal file or database URL; every process started with the same shares the work. "
        "Default: study.journal in --out.",
    ),
]
StudyOption = Annotated[
    str | None, typer.Option("--study", help="Its name in --storage. Default: the name of the command.")
]
PruneOption = Annotated[
    bool, typer.Option("--prune", help="End trainings that are worse than the median of the earlier ones.")
]


@app.command()
def learn(
    out: OutOption,
    data: DataOption = "chemicals",
    tasks: TasksOption = None,
    smiles_column: SmilesOption = None,
    at_least: AtLeastOption = 1,
    derived: DerivedOption = False,
    join: JoinOption = None,
    method: Annotated[
        Learner, typer.Option(help="budget: one-step hypergradient; direct: as published.")
    ] = Learner.budget,
    embedding: Annotated[
        Reader,
        typer.Option(help="fingerprint: quick; graph: message passing over atoms and bonds, several times slower."),
    ] = Reader.fingerprint,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Most sources per target in a training step; the others take turns.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, help="Leave sources with a smaller λ out of training steps; they take turns.")
    ] = DEFAULT.threshold,
    epochs: EpochsOption = DEFAULT.epochs,
    schedule: Annotated[LearningRate, typer.Option(help="Of the learning rate.")] = LearningRate.cosine,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many epochs without a better selection RMSE, and keep the best model."),
    ] = None,
    precision: Annotated[Digits, typer.Option(help="Of the networks; bfloat16 is meant for a GPU.")] = Digits.float32,
    seed: SeedOption = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Models to train on the split of --seed; predictions are their mean.")
    ] = 1,
    device: DeviceOption = "auto",
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="Between two checkpoints; 0: every epoch.")] = 5.0,
    resume: ResumeOption = False,
) -> None:
    """Train GATE and learn λ on the way; leave a model that `gate predict` can use."""
    where = resolve_device(device)
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    settings = replace(
        SETTINGS[embedding.value],
        epochs=epochs,
        schedule=schedule.value,
        patience=patience,
        precision=precision.value,
        top_k=top_k,
        threshold=threshold,
    )
    config = {"seed": seed, "seeds": seeds, "method": str(method), "settings": asdict(settings)}
    _open(out, resume, "learn", data, table, at_least, **config)
    write_csv(out / "set_aside.csv", table.set_aside)
    prepared = _prepare(table, seed, embedding.value)
    members: dict[int, GATE] = {}
    found: list[Outcome] = []
    for each in range(seed, seed + seeds):
        file = out / ("checkpoint.pt" if seeds == 1 else f"checkpoint-seed{each}.pt")
        with live_training(console, epochs, "epochs" if seeds == 1 else f"epochs, seed {each}") as progress:
            trained = train(
                prepared,
                LEARNED[method],
                settings,
                seed=each,
                device=where,
                checkpoints=Checkpoints(file, checkpoint_minutes),
                progress=progress,
            )
        members[each] = trained.model
        found.append(outcome(prepared, LEARNED[method], trained, seed=each))
    model = model_of(prepared, settings, members)
    save_model(out, model)
    write_model_card(out, model, prepared, LEARNED[method], _command())
    write_outcomes(out, "training", dict.fromkeys(members, prepared), found, command=_command())
    _finish(out, found, list(prepared.abbreviations))


@app.command()
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
    study: StudyOption = None,
    prune: PruneOption = False,
    population: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Points to train in one, which is quicker. Default: {POPULATION}; 1 with --storage or --prune."
        ),
    ] = None,
    device: DeviceOption = "auto",
    resume: ResumeOption = False,
) -> None:
    """Search symmetric λ on a grid; the rival that learned λ has to beat."""
    where = resolve_device(device)
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    axis = _numbers("--values", values)
    if prune and (population or 1) > 1:
        raise ValueError(f"--population {population}: with --prune trainings end one by one; leave one of them out")
    population = population or (1 if prune or storage else POPULATION)
    length = {"trials": check_size(table.abbreviations, axis), "population": population}
    _search("grid", out, data, table, at_least, axis, length, epochs, seed, storage, study, prune, where, resume)


@app.command()
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
    study: StudyOption = None,
    prune: PruneOption = False,
    device: DeviceOption = "auto",
    resume: ResumeOption = False,
) -> None:
    """Search symmetric λ with Optuna's TPE, one training a trial."""
    where = resolve_device(device)
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    axis = _numbers("--low,--high", f"{low},{high}")
    length = {"epochs": epoch_budget} if epoch_budget else {"trials": trials}
    _search("tpe", out, data, table, at_least, axis, length, epochs, seed, storage, study, prune, where, resume)


@app.command("compare")
def compare_command(
    out: OutOption,
    data: DataOption = "chemicals",
    tasks: TasksOption = None,
    smiles_column: SmilesOption = None,
    at_least: AtLeastOption = 1,
    derived: DerivedOption = False,
    join: JoinOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds; each has its own split.")] = 3,
    seed: SeedOption = 0,
    values: ValuesOption = DEFAULT_VALUES,
    epochs: EpochsOption = DEFAULT.epochs,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time, one thread each.")] = CORES,
    resume: ResumeOption = False,
) -> None:
    """Learned λ, constant λ, grid and TPE side by side: same data, splits, seeds and epochs; one report."""
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    axis = _numbers("--values", values)
    shared = too_many(table.abbreviations, axis)
    axis = shared_values(axis) if shared else axis
    points = len(axis) if shared else check_size(table.abbreviations, axis)
    settings = Settings(epochs=epochs)
    comparison = Comparison(tuple(range(seed, seed + seeds)), settings, axis, points, points, shared, workers)
    config = {"seeds": list(comparison.seeds), "values": list(axis), "settings": asdict(settings)}
    _open(out, resume, "compare", data, table, at_least, **config)
    datasets = {each: _prepare(table, each) for each in comparison.seeds}
    if not (out / "results.json").exists():
        searched = f"grid of {points}, TPE of {points}, {len(METHODS)} single trainings, {len(comparison.seeds)} seeds"
        console.print(f"{comparison.trainings} trainings: {searched}")
        if shared:
            console.print(f"a λ for each pair of {len(table.tasks)} tasks is too many: grid and TPE search one for all")
        with _progress() as bar:
            task = bar.add_task("trainings", total=comparison.trainings)
            compare(out, datasets, comparison, command=_command(), progress=lambda n: bar.update(task, completed=n))
    _report(out)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished `gate learn`.")],
    file: Annotated[Path, typer.Argument(help="CSV with a SMILES column, of any length.")],
    out: Annotated[Path | None, typer.Option(help="Default: FILE.predicted.csv beside the file.")] = None,
    smiles_column: SmilesOption = None,
) -> None:
    """Predict every task for the molecules of a CSV, with ±σ, in the tasks' own units; flag unfamiliar molecules."""
    target = out or file.with_suffix(".predicted.csv")
    model = load_model(run)
    with _progress() as bar:
        task = bar.add_task("rows", total=None)
        done = predict_file(
            model,
            file,
            target,
            smiles_column=smiles_column,
            progress=lambda done, rows: bar.update(task, completed=done, total=rows),
        )
    notes = [f"{done.unread} rows not predicted"] if done.unread else []
    notes += [f"{done.unlike} for molecules unlike the training molecules"] if done.unlike else []
    console.print("; ".join([f"wrote {done.rows - done.unread} predictions to {target}", *notes]))


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write report.html anew from the files of a run folder."""
    _report(run)


def main() -> None:
    """Entry point: problems of the user's making are one message, not a traceback."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        app(standalone_mode=True)
    except (DataError, ValueError, TypeError, TimeoutError) as error:
        console.print("[bold red]error:[/bold red]", end=" ")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("stopped; the same command with --resume goes on from here")
        sys.exit(130)


def _search(
    kind: Literal["grid", "tpe"],
    out: Path,
    data: str,
    table: PropertyTable,
    at_least: int,
    axis: tuple[float, ...],
    length: dict[str, int],
    epochs: int,
    seed: int,
    storage: str | None,
    study: str | None,
    prune: bool,
    device: torch.device,
    resume: bool,
) -> None:
    settings = Settings(epochs=epochs)
    config: dict[str, Any] = {
        "seed": seed,
        "values": list(axis),
        "settings": asdict(settings),
        "prune": prune,
        "length": length,
        "storage": None if storage is None else without_password(storage),
        "study": study,
    }
    if storage is None:
        _open(out, resume, kind, data, table, at_least, **config)
    else:
        _join(out, kind, data, table, at_least, **config)
    if (out / "results.json").exists():
        _report(out)
        return
    prepared = _prepare(table, seed)
    with _progress() as bar:
        task = bar.add_task(f"{kind} trials", total=length.get("trials"))
        searched = run_search(
            kind,
            prepared,
            settings,
            seed=seed,
            storage=storage or out / "study.journal",
            values=axis,
            trials=length.get("trials"),
            epochs=length.get("epochs"),
            prune=prune,
            population=length.get("population", 1),
            study_name=study,
            device=device,
            after_trial=lambda done: bar.update(task, completed=done),
        )
    if searched is None:
        console.print("the search is complete; the process that began its last training writes the report to its --out")
        return
    found, frame = searched
    parameters = pairs(prepared.abbreviations)
    write_outcomes(
        out, "comparison", {seed: prepared}, [found], command=_command(storage), trials=frame, parameters=parameters
    )
    _finish(out, [found], list(prepared.abbreviations))


def _join(out: Path, *arguments: Any, **config: Any) -> None:
    """Open a folder that other processes may be making at the same moment."""
    for tries_left in reversed(range(50)):
        made = (out / "config.json").exists()
        try:
            _open(out, True, *arguments, **config)
            return
        except (RunError, FileNotFoundError):
            if made or not tries_left:
                raise
        time.sleep(0.1)


def _prepare(table: PropertyTable, seed: int, embedding: Embedding = "fingerprint") -> PreparedData:
    with _progress() as bar:
        task = bar.add_task("features", total=len(table.smiles))

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return prepare(table, seed=seed, embedding=embedding, progress=show)


def _open(out: Path, resume: bool, command: str, data: str, table: PropertyTable, at_least: int, **config: Any) -> None:
    tasks = list(table.abbreviations)
    threads = torch.get_num_threads()
    content = {"command": command, "data": data, "source": table.source, "tasks": tasks, "at_least": at_least, **config}
    open_folder(out, content | {"molecules": len(table.smiles), "threads": threads}, resume=resume)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} {text!r}: numbers separated by commas are wanted, e.g. 0.2,0.6,1.0") from None
    if len(set(values)) < 2 or len(set(values)) < len(values) or min(values) < 0:
        raise ValueError(f"{option} {text!r}: at least two different numbers, none negative, none twice, are wanted")
    return values


def _finish(out: Path, found: list[Outcome], tasks: list[str]) -> None:
    for run in found:
        scores = ", ".join(f"{task} {score:.3f}" for task, score in zip(tasks, run.test_rmse, strict=True))
        console.print(f"{run.title}: test RMSE (standardised) {scores}", markup=False, highlight=False)
    _report(out)


def _report(folder: Path) -> None:
    console.print(f"report: {write_report(folder).resolve()}", markup=False, highlight=False, soft_wrap=True)


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def _command(storage: str | None = None) -> str:
    """As it was given, but without the password of `storage`."""
    given = sys.argv[1:]
    if storage is not None:
        given = [argument.replace(storage, without_password(storage)) for argument in given]
    return shlex.join(["gate", *given])
