"""The steps that `gate grid` and `gate tpe` share: load the data, run the search, write the run folder."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from optuna.pruners import MedianPruner

from bilevel_hpo.comparison import Searched
from bilevel_hpo.jobs import On
from bilevel_hpo.run_folder import open_folder
from bilevel_hpo.search import without_password
from gate_model.cli._options import RunOptions, StorageOptions
from gate_model.cli._run import compared, finish, prepare_shown, threads
from gate_model.data.request import DataRequest
from gate_model.data.table import PropertyTable
from gate_model.training.settings import Settings

__all__ = ["searched"]


def searched(
    method: Searched,
    run: RunOptions,
    kept: StorageOptions,
    request: DataRequest,
    table: PropertyTable,
    *,
    seed: int,
    epochs: int,
    about: Mapping[str, Any],
    on: On,
    device: torch.device,
) -> None:
    """Run a search, and write the files of the run.

    Args:
        method: the search.
        run: the run folder, and whether the run continues.
        kept: the storage of the study, and whether bad trainings are stopped early.
        request: the request for the data.
        table: the data that it loaded.
        seed: random seed of the split and of every training.
        epochs: number of epochs of every training.
        about: everything else that decides the numbers; a resumed run must have the same.
        on: the number of workers that train, or the address of a Dask scheduler.
        device: the device on which each training runs.
    """
    settings = Settings(epochs=epochs)
    if kept.prune:
        method = replace(method, pruner=MedianPruner(n_warmup_steps=epochs // 3))
    config = {"seed": seed, "settings": asdict(settings), **about, "prune": kept.prune}
    storage = None if kept.storage is None else without_password(kept.storage)
    identity = {"command": method.name, **request.identity(table), "storage": storage, **config, **threads()}
    open_folder(run.out, identity, resume=run.resume)
    prepared = prepare_shown(table, seed, settings.network, request.split(table, seed))
    answers = compared(
        run.out, {seed: prepared}, [method], settings, config, on=on, storage=kept.storage, device=device
    )
    finish(run.out, answers)
