"""Run by `torchrun`: what two ranks of a Lightning Trainer learn, and what they say, printed by the first."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, distributed

from bilevel_hpo import OneStep, UnsupportedError
from tests.engine.lightning_problem import TRAIN, VAL, Forgets, Module, Noisy, callback, loss_weights, trainer


def share(batches: list[tuple[Tensor, Tensor]], rank: int, ranks: int) -> Any:
    """This rank's part of every batch."""
    own: Any = [(x.double().chunk(ranks)[rank], y.double().chunk(ranks)[rank]) for x, y in batches]
    return torch.utils.data.DataLoader(own, batch_size=None)


def trained(kind: type[Module], path: Path, rank: int, ranks: int, **options: Any) -> list[float]:
    """λ after two epochs, each outer step on all of a train and a validation batch."""
    weights = loss_weights().double()
    bilevel = callback(weights, outer_every=1, hypergradient=OneStep(), val_batches=share(VAL, rank, ranks))
    made = trainer(path, bilevel, max_epochs=2, precision="64-true", use_distributed_sampler=False, **options)
    made.fit(kind(weights), share(TRAIN, rank, ranks))
    return weights().tolist()


if __name__ == "__main__":
    rank, path = int(os.environ["RANK"]), Path(tempfile.mkdtemp())
    answers: dict[str, Any] = {}
    for kind in (Module, Noisy, Forgets):
        # λ of the Trainer's module belong to no parameter group; not all of them have a gradient in every step.
        strategy = DDPStrategy(process_group_backend="gloo", find_unused_parameters=True)
        try:
            answers[kind.__name__] = trained(kind, path, rank, 2, strategy=strategy, devices=2)
        except UnsupportedError as error:
            answers[kind.__name__] = str(error)
    told: list[Any] = [None, None]
    distributed.all_gather_object(told, answers)
    if rank == 0:
        print(json.dumps(told), flush=True)
    distributed.barrier()
    # Torn down as usual, gloo's threads now and then abort the process: "terminate called without an active exception".
    os._exit(0)
