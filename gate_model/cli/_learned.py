"""The trainings of `gate learn` with their progress lines, and the files that they write."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bilevel_hpo.comparison import Answer, Answers
from gate_model.cli._console import console
from gate_model.cli._live import live_training
from gate_model.cli._run import command_typed
from gate_model.data.prepared import PreparedData
from gate_model.experiments.compare import single
from gate_model.experiments.record import record_of, setting_of, write_run
from gate_model.predictor.model_card import write_model_card
from gate_model.predictor.saved_model import model_of, save_model
from gate_model.training.checkpoints import Checkpoints
from gate_model.training.methods import Method
from gate_model.training.settings import Settings
from gate_model.training.train import train
from gate_model.training.trained import Trained

__all__ = ["learned", "recorded", "written"]


def learned(
    out: Path,
    prepared: PreparedData,
    method: Method,
    settings: Settings,
    seeds: Sequence[int],
    device: torch.device,
    checkpoint_minutes: float,
) -> dict[int, Trained]:
    """Train once for each seed, with a checkpoint in `out`; returns the trainings by seed."""
    found: dict[int, Trained] = {}
    for seed in seeds:
        one = len(seeds) == 1
        file = out / ("checkpoint.pt" if one else f"checkpoint-seed{seed}.pt")
        with live_training(console, settings.epochs, "epochs" if one else f"epochs, seed {seed}") as progress:
            found[seed] = train(
                prepared,
                method,
                settings,
                seed=seed,
                device=device,
                checkpoints=Checkpoints(file, checkpoint_minutes),
                progress=progress,
            )
        _warn_of_start(found[seed], method, settings, prepared, seed)
    return found


def written(
    out: Path,
    prepared: PreparedData,
    method: Method,
    settings: Settings,
    members: Mapping[int, Trained],
    about: Mapping[str, Any],
) -> Answers:
    """Write the model, its card and the files of the run; returns the records of the trainings."""
    model = model_of(prepared, settings, {seed: trained.model for seed, trained in members.items()})
    save_model(out, model)
    write_model_card(out, model, prepared, method, command_typed())
    return recorded(out, prepared, method, members, about)


def recorded(
    out: Path, prepared: PreparedData, method: Method, members: Mapping[int, Trained], about: Mapping[str, Any]
) -> Answers:
    """Write the files of the run beside the model; returns the records of the trainings."""
    answers: Answers = {}
    for seed, trained in members.items():
        record = record_of(prepared, method, trained)
        answers[method.name, seed] = Answer(record, 1, record.seconds, record.cpu_seconds, record.epochs)
    write_run(
        out,
        "training",
        dict.fromkeys(members, prepared),
        [single(method)],
        answers,
        setting_of(out, prepared.abbreviations, about),
        command=command_typed(),
    )
    return answers


def _warn_of_start(trained: Trained, method: Method, settings: Settings, prepared: PreparedData, seed: int) -> None:
    """Tell the user if early stopping kept a model from before λ first moved."""
    if method.learning and len(prepared.abbreviations) > 1 and torch.equal(trained.ratios, trained.trajectory[0]):
        console.print(
            f"seed {seed}: the best model is that of epoch {trained.epoch}, before λ moved; λ starts to move after "
            f"{method.learning.warm_up:.0%} of --epochs {settings.epochs}: use fewer epochs, or more --patience",
            highlight=False,
        )
