"""`gate learn`: one training, or one for each seed, that learns λ and writes a model."""
# ruff: noqa: PLC0415  What trains is imported by the command, so that its help is quick.

from dataclasses import asdict, replace
from enum import StrEnum
from typing import Annotated

import typer

from gate_model.cli._options import (
    DEFAULT,
    DataOptions,
    DeviceOption,
    EpochsOption,
    RunOptions,
    SeedOption,
)
from gate_model.cli._records import with_records
from gate_model.training.settings import settings_for

__all__ = ["app", "learn"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


class Public(StrEnum):
    """Public tables that join a user's file."""

    chemicals = "chemicals"


class LearningRate(StrEnum):
    """The schedules of the learning rate."""

    cosine = "cosine"
    one_cycle = "one-cycle"


class Learner(StrEnum):
    """The methods of learning λ."""

    budget = "budget"
    direct = "direct"


class Digits(StrEnum):
    """The number formats in which the networks compute."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@app.command()
@with_records
def learn(
    run: RunOptions,
    data: DataOptions,
    with_: Annotated[
        Public | None,
        typer.Option(
            "--with",
            help="Train on the file of --data alone and joined with all public properties, and keep for each column "
            "what is better; --tasks may name columns and public properties.",
        ),
    ] = None,
    method: Annotated[
        Learner,
        typer.Option(
            help="How λ is learned. budget (recommended): exact one-step hypergradient, the λ of each target share one "
            "sum; direct: the algorithm that the paper prints."
        ),
    ] = Learner.budget,
    embedding: Annotated[
        str,
        typer.Option(
            help="How molecules are read. fingerprint: fast; graph: message passing over atoms and bonds, slower, for "
            "a possible gain in accuracy; module:function: your own embedding."
        ),
    ] = "fingerprint",
    top_k: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Use at most this many source tasks per target in a training step, to save time with many tasks. The "
            "others are tried in turn. Default: all.",
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            min=0,
            help="Leave sources with a smaller λ out of the training steps, to save time with many tasks. They are "
            "tried in turn, so they can come back.",
        ),
    ] = DEFAULT.threshold,
    relative_losses: Annotated[
        bool,
        typer.Option(
            "--relative-losses/--plain-losses",
            help="relative: the logarithm of each task's loss counts, so that no task dominates; plain: the loss "
            "itself, as in the paper.",
        ),
    ] = DEFAULT.relative_losses,
    epochs: EpochsOption = DEFAULT.epochs,
    schedule: Annotated[
        LearningRate,
        typer.Option(
            help="How the learning rate changes. cosine: it falls to 0; one-cycle: it rises for 30 % of the steps, "
            "then falls."
        ),
    ] = LearningRate.cosine,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stop after this many epochs without a better RMSE on the selection molecules, and keep the best "
            "model. Default: train all epochs.",
        ),
    ] = None,
    precision: Annotated[
        Digits,
        typer.Option(help="Number format of the networks. bfloat16 is meant for a GPU; on a CPU it saves nothing."),
    ] = Digits.float32,
    seed: SeedOption = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of models to train on the same split. Predictions are their mean; 5 models give a better ±σ, "
            "and take 5 times as long.",
        ),
    ] = 1,
    device: DeviceOption = "auto",
    checkpoint_minutes: Annotated[
        float,
        typer.Option(
            min=0, help="Minutes between two checkpoints, from which --resume continues. 0: after every epoch."
        ),
    ] = 5.0,
) -> None:
    """Train GATE and learn λ during the training. The run folder holds a model for `gate predict`."""
    from bilevel_hpo.run_folder import open_folder, write_csv
    from gate_model.cli._device import resolve_device
    from gate_model.cli._embedding import embedding_name
    from gate_model.cli._learned import learned, written
    from gate_model.cli._run import finish, prepare_shown, threads
    from gate_model.cli._table import load_shown
    from gate_model.cli._with_public import Training, learn_with_public
    from gate_model.training.methods import LEARNED

    where, chosen, request = resolve_device(device), LEARNED[method], data.request()
    settings = replace(
        settings_for(embedding_name(embedding)),
        epochs=epochs,
        schedule=schedule.value,
        patience=patience,
        precision=precision.value,
        top_k=top_k,
        threshold=threshold,
        relative_losses=relative_losses,
    )
    about = {"seed": seed, "seeds": seeds, "method": str(method), "settings": asdict(settings)}
    if with_ is not None:
        training = Training(chosen, settings, range(seed, seed + seeds), where, checkpoint_minutes)
        config = {"command": "learn", **about, **threads()}
        learn_with_public(run.out, replace(request, public=True), training, config, resume=run.resume)
        return
    table = load_shown(request)
    open_folder(run.out, {"command": "learn", **request.identity(table), **about, **threads()}, resume=run.resume)
    write_csv(run.out / "set_aside.csv", table.set_aside)
    prepared = prepare_shown(table, seed, settings.network, request.split(table, seed))
    members = learned(run.out, prepared, chosen, settings, range(seed, seed + seeds), where, checkpoint_minutes)
    finish(run.out, written(run.out, prepared, chosen, settings, members, about))
