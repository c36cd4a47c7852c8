"""`gate learn`: one training, or one for each seed, that learns λ; it leaves a model."""
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


class LearningRate(StrEnum):
    """Schedules of the learning rate."""

    cosine = "cosine"
    one_cycle = "one-cycle"


class Learner(StrEnum):
    """Methods of learning λ."""

    budget = "budget"
    direct = "direct"


class Digits(StrEnum):
    """Precisions of the networks."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@app.command()
@with_records
def learn(
    run: RunOptions,
    data: DataOptions,
    method: Annotated[
        Learner, typer.Option(help="budget: one-step hypergradient; direct: as published.")
    ] = Learner.budget,
    embedding: Annotated[
        str,
        typer.Option(
            help="fingerprint: quick; graph: message passing over atoms and bonds, several times slower; or "
            "module:function for an embedding of your own."
        ),
    ] = "fingerprint",
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
) -> None:
    """Train GATE and learn λ on the way; leave a model that `gate predict` can use."""
    from bilevel_hpo.run_folder import open_folder, write_csv
    from gate_model.cli._device import resolve_device
    from gate_model.cli._embedding import embedding_name
    from gate_model.cli._learned import learned, written
    from gate_model.cli._run import finish, prepare_shown, threads
    from gate_model.cli._table import load_shown
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
    table = load_shown(request)
    about = {"seed": seed, "seeds": seeds, "method": str(method), "settings": asdict(settings)}
    open_folder(run.out, {"command": "learn", **request.identity(table), **about, **threads()}, resume=run.resume)
    write_csv(run.out / "set_aside.csv", table.set_aside)
    prepared = prepare_shown(table, seed, settings.network, request.split(table, seed))
    members = learned(run.out, prepared, chosen, settings, range(seed, seed + seeds), where, checkpoint_minutes)
    finish(run.out, written(run.out, prepared, chosen, settings, members, about))
