"""The command `gate`: build data, learn λ, search it, compare, predict, report."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import optuna
import torch
import typer

from bilevel_hpo import DivergedError, NonFiniteError
from bilevel_hpo.comparison import Answer, Answers, Method
from bilevel_hpo.jobs import WorkersLostError
from bilevel_hpo.run_folder import write_csv
from gate_model.cli import data as cli_data
from gate_model.cli import experiment as cli_experiments
from gate_model.cli._device import resolve_device
from gate_model.cli._live import live_training
from gate_model.cli._options import (
    CORES,
    DEFAULT,
    DEFAULT_VALUES,
    AtLeastOption,
    DaskOption,
    DataOption,
    DerivedOption,
    DeviceOption,
    Digits,
    EpochsOption,
    JoinOption,
    Learner,
    LearningRate,
    OutOption,
    Reader,
    ResumeOption,
    SeedOption,
    SeedsOption,
    SmilesOption,
    TasksOption,
    ValuesOption,
    WorkersOption,
    as_numbers,
)
from gate_model.cli._run import (
    command_typed,
    compared,
    console,
    finish,
    open_run,
    prepare_shown,
    progress_bar,
    report_shown,
    single_threads,
)
from gate_model.cli.benchmark import benchmark
from gate_model.cli.data import load_table
from gate_model.cli.search import grid, tpe
from gate_model.data.table import DataError
from gate_model.experiments.compare import METHODS, check_size, grid_of, shared_values, single, too_many, tpe_of
from gate_model.experiments.record import record_of, setting_of, write_run
from gate_model.model.gate import GATE
from gate_model.predictor.model_card import write_model_card
from gate_model.predictor.prediction import predict_file
from gate_model.predictor.saved_model import load_model, model_of, save_model
from gate_model.training.checkpoints import Checkpoints
from gate_model.training.methods import LEARNED
from gate_model.training.settings import Settings, settings_for
from gate_model.training.train import train

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
    relative_losses: Annotated[
        bool,
        typer.Option(
            "--relative-losses/--plain-losses",
            help="Tasks count by the share by which their loss falls, or by the loss itself, as in the paper.",
        ),
    ] = DEFAULT.relative_losses,
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
    where, chosen = resolve_device(device), LEARNED[method]
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    settings = replace(
        settings_for(embedding.value),
        epochs=epochs,
        schedule=schedule.value,
        patience=patience,
        precision=precision.value,
        top_k=top_k,
        threshold=threshold,
        relative_losses=relative_losses,
    )
    config = {"seed": seed, "seeds": seeds, "method": str(method), "settings": asdict(settings)}
    open_run(out, "learn", data, table, at_least, resume=resume, **config)
    write_csv(out / "set_aside.csv", table.set_aside)
    prepared = prepare_shown(table, seed, settings.network)
    members: dict[int, GATE] = {}
    answers: Answers = {}
    for each in range(seed, seed + seeds):
        file = out / ("checkpoint.pt" if seeds == 1 else f"checkpoint-seed{each}.pt")
        with live_training(console, epochs, "epochs" if seeds == 1 else f"epochs, seed {each}") as progress:
            trained = train(
                prepared,
                chosen,
                settings,
                seed=each,
                device=where,
                checkpoints=Checkpoints(file, checkpoint_minutes),
                progress=progress,
            )
        if chosen.learning and len(prepared.abbreviations) > 1 and torch.equal(trained.ratios, trained.trajectory[0]):
            console.print(
                f"seed {each}: the model of epoch {trained.epoch} is kept, where λ is still where it started; it moves "
                f"after {chosen.learning.warm_up:.0%} of the --epochs {epochs}: take fewer, or more --patience",
                highlight=False,
            )
        members[each] = trained.model
        record = record_of(prepared, chosen, trained)
        answers[str(method), each] = Answer(record, 1, record.seconds, record.cpu_seconds, record.epochs)
    model = model_of(prepared, settings, members)
    save_model(out, model)
    write_model_card(out, model, prepared, chosen, command_typed())
    write_run(
        out,
        "training",
        dict.fromkeys(members, prepared),
        [single(chosen)],
        answers,
        setting_of(out, prepared.abbreviations, config),
        command=command_typed(),
    )
    finish(out, answers)


app.command()(grid)
app.command()(tpe)


@app.command("compare")
def compare_command(
    out: OutOption,
    data: DataOption = "chemicals",
    tasks: TasksOption = None,
    smiles_column: SmilesOption = None,
    at_least: AtLeastOption = 1,
    derived: DerivedOption = False,
    join: JoinOption = None,
    seeds: SeedsOption = 3,
    seed: SeedOption = 0,
    values: ValuesOption = DEFAULT_VALUES,
    epochs: EpochsOption = DEFAULT.epochs,
    workers: WorkersOption = CORES,
    dask: DaskOption = None,
    resume: ResumeOption = False,
) -> None:
    """Learned λ, constant λ, grid and TPE side by side: same data, splits, seeds and epochs; one report."""
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    axis = as_numbers("--values", values)
    names = table.abbreviations
    shared = too_many(names, axis)
    axis = shared_values(axis) if shared else axis
    points = len(axis) if shared else check_size(names, axis)
    settings, used = Settings(epochs=epochs), list(range(seed, seed + seeds))
    config = {"seeds": used, "values": list(axis), "settings": asdict(settings)}
    open_run(out, "compare", data, table, at_least, resume=resume, **config)
    methods: list[Method] = [*map(single, METHODS), grid_of(axis, shared=shared), tpe_of(axis, points, shared=shared)]
    if shared:
        console.print(f"a λ for each pair of {len(names)} tasks is too many: grid and TPE search one for all")
    datasets = {each: prepare_shown(table, each) for each in used}
    compared(out, datasets, methods, settings, config, on=single_threads(workers, dask))
    report_shown(out)


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
    with progress_bar() as bar:
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
    report_shown(run)


def main() -> None:
    """Entry point: problems of the user's making are one message, not a traceback."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        app(standalone_mode=True)
    except (DataError, ValueError, TypeError, OSError, DivergedError, NonFiniteError, WorkersLostError) as error:
        console.print("[bold red]error:[/bold red]", end=" ")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("stopped; the same command with --resume goes on from here")
        sys.exit(130)
