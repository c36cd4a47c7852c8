"""`gate learn --with chemicals`: a file alone and joined with the public table, and what that bought."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bilevel_hpo.run_folder import open_folder, write_csv
from gate_model.cli._console import console
from gate_model.cli._learned import learned, recorded
from gate_model.cli._report import report_shown
from gate_model.cli._run import command_typed, prepare_shown
from gate_model.cli._table import show_set_aside
from gate_model.data.files.with_public import WithPublic, joined_split
from gate_model.data.prepared import PreparedData
from gate_model.data.request import DataRequest
from gate_model.data.splits import Split
from gate_model.predictor.model_card import write_model_card
from gate_model.predictor.saved_model import ALONE, JOINED, OwnColumns, SavedModel, model_of, save_model
from gate_model.predictor.with_public import Bought, bought, bought_frame, errors
from gate_model.report import write_report
from gate_model.training.methods import Method, constant
from gate_model.training.settings import Settings
from gate_model.training.trained import Trained

__all__ = ["Training", "learn_with_public"]

_FEW = 50
"""Validation labels of a column; with 30 of them learned λ lost against equal weights in a trial (docs/data.md)."""
_ONE_TASK = constant("lambda=0", "one task, nothing to transfer", 0.0)


@dataclass(frozen=True)
class Training:
    """How both models are trained."""

    method: Method
    settings: Settings
    seeds: Sequence[int]
    """Of the members of each model; the first is that of the split."""
    device: torch.device
    checkpoint_minutes: float


def learn_with_public(
    out: Path, request: DataRequest, training: Training, config: Mapping[str, Any], *, resume: bool
) -> None:
    """Train both models, choose for each column of the file, and write the run folder.

    `out` has the choice, with_public.csv and the record of the joined training; `out`/alone is a run folder of the file
    alone, and `out`/joined has the joined model.

    Args:
        out: the run folder.
        request: the data, with `public`.
        training: how both are trained.
        config: what decides the numbers beside the data.
        resume: go on with the run in `out`.
    """
    data, seed, settings = request.load_with_public(), training.seeds[0], training.settings
    show_set_aside(data.joined)
    open_folder(out, {**config, **request.identity(data.joined)}, resume=resume)
    write_csv(out / "set_aside.csv", data.joined.set_aside)
    _show_overlap(data)
    own = request.own_split(data, seed)
    split = joined_split(data, own, seed=seed)
    _warn_of_few_labels(data, own)

    console.print(f"training on {data.mine.source} alone", markup=False, highlight=False)
    alone = prepare_shown(data.mine, seed, settings.network, own)
    method = training.method if len(data.mine.tasks) > 1 else _ONE_TASK
    alone_members = _trained(out / ALONE, alone, method, training)
    console.print(f"training on {data.joined.source}", markup=False, highlight=False)
    joined = prepare_shown(data.joined, seed, settings.network, split)
    joined_members = _trained(out / JOINED, joined, training.method, training)

    models = (_model(alone, settings, alone_members), _model(joined, settings, joined_members))
    found = _bought(data, own, (alone, joined), models, seed)
    by_alone = tuple(each.task.abbreviation for each in found if not each.joined)
    save_model(out, replace(models[1], own=OwnColumns(data.mine.abbreviations, by_alone, models[0])))
    write_model_card(out / ALONE, models[0], alone, method, command_typed())
    write_model_card(out / JOINED, models[1], joined, training.method, command_typed())
    write_csv(out / "with_public.csv", bought_frame(found))
    recorded(out / ALONE, alone, method, alone_members, config)
    recorded(out, joined, training.method, joined_members, config)
    write_report(out / ALONE)
    for each in found:
        console.print(each.sentence, markup=False, highlight=False, soft_wrap=True)
    report_shown(out)


def _trained(folder: Path, prepared: PreparedData, method: Method, training: Training) -> dict[int, Trained]:
    return learned(
        folder, prepared, method, training.settings, training.seeds, training.device, training.checkpoint_minutes
    )


def _model(prepared: PreparedData, settings: Settings, members: Mapping[int, Trained]) -> SavedModel:
    return model_of(prepared, settings, {seed: trained.model for seed, trained in members.items()})


def _bought(
    data: WithPublic,
    own: Split,
    prepared: tuple[PreparedData, PreparedData],
    models: tuple[SavedModel, SavedModel],
    seed: int,
) -> tuple[Bought, ...]:
    """Both models on the selection and test molecules of the file, which are judged by the file's labels."""
    names, mine, present = data.mine.abbreviations, data.mine, np.isfinite(data.mine.labels)
    parts = {}
    for part, rows in (("selection", own.selection), ("test", own.test)):
        smiles, labels = [mine.smiles[row] for row in rows], mine.labels[rows]
        alone, joined = (errors(m, p, smiles, labels, names) for m, p in zip(models, prepared, strict=True))
        parts[part] = (alone, joined)
    trained_on = np.concatenate([own.train, own.validation])
    counts = [present[rows].sum(0).tolist() for rows in (trained_on, own.selection, own.test)]
    return bought(mine, list(zip(*counts, strict=True)), parts["selection"], parts["test"], seed=seed)


def _show_overlap(data: WithPublic) -> None:
    """Which public properties join, and what they share with the file."""
    overlap, public, mine = data.overlap(), data.public, data.mine
    lines = [
        f"{len(public.tasks)} public properties of {len(public.smiles)} molecules join {len(mine.tasks)} of "
        f"{mine.source}: {', '.join(public.abbreviations)}",
        f"{overlap.molecules} of the file's {len(mine.smiles)} molecules are in the public table, with "
        f"{overlap.public_labels} public labels",
    ]
    lines += [
        f"{name} is a public property too: {both} molecules have a label in both; the file's is used"
        for name, both in overlap.columns.items()
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _warn_of_few_labels(data: WithPublic, own: Split) -> None:
    """λ is learned from the validation labels."""
    counts = np.isfinite(data.mine.labels[own.validation]).sum(0)
    few = [f"{name} {count}" for name, count in zip(data.mine.abbreviations, counts, strict=True) if count < _FEW]
    if few:
        console.print(
            f"few validation labels to learn λ from ({', '.join(few)}; {_FEW} or more are better): with 30 of them "
            "equal weights did better in a trial, see docs/data.md",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
