"""Run by `torchrun`: λ after 21 steps on this rank's share of every batch, for every kind and estimator.

The first rank prints them as JSON.
"""

import copy
import json
import os
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from bilevel_hpo import BilevelLearner, Budget, ConjugateGradient, Direct, FiniteDifference, LossWeights, OneStep
from tests.engine.problems import batch, named, net, weighted

ESTIMATORS = {
    "OneStep": OneStep(),
    "FiniteDifference": FiniteDifference(),
    "FiniteDifference, one-sided": FiniteDifference(epsilon=1e-4, central=False),
    "ConjugateGradient": ConjugateGradient(iterations=5, damping=1.0),
    "Direct": Direct(),
}
STEPS = 21
KINDS = {"ddp": ("ddp", 1), "ddp accumulated": ("ddp", 2), "fsdp accumulated": ("fsdp", 2)}
"""How θ is shared, and micro-batches of a step."""


def trained(estimator: str, rank: int, ranks: int, accumulate: int = 1, kind: str = "ddp") -> list[float]:
    """λ after `STEPS` steps, each on 16 / `ranks` of the rows."""

    def share(data: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(part.chunk(ranks)[rank] for part in data)

    torch.manual_seed(0)
    bare = net(nn.LayerNorm(5).double())
    assert isinstance(bare, nn.Sequential)
    model: nn.Module = bare
    if ranks > 1 and kind == "fsdp":
        fully_shard(bare[0])
        fully_shard(bare)
    elif ranks > 1:
        model = DistributedDataParallel(bare)
    # a λ that differs at the start on the other ranks: the first rank's counts
    start = [0.5, 0.3, 0.2] if rank == 0 else [0.2, 0.3, 0.5]
    weights = LossWeights(["a", "b", "c"], init=torch.tensor(start, dtype=torch.float64), constraint=Budget()).double()
    learner = BilevelLearner(
        model,
        torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1),
        weights,
        train_loss=weighted,
        val_loss=named,
        hypergradient=ESTIMATORS[estimator],
    )
    train, val = ([share(batch(seed, n=16)) for seed in range(first, first + 7)] for first in (0, 50))
    if accumulate > 1:
        train = [tuple(part.chunk(accumulate)[i] for part in data) for data in train for i in range(accumulate)]
    learner.fit(train, val, epochs=1 + STEPS // 7, outer_every=1, accumulate=accumulate)
    if ranks > 1 and kind == "fsdp":
        assert all(isinstance(p, DTensor) for p in model.parameters())
        saved_and_loaded(learner)
    return weights().tolist()


def saved_and_loaded(learner: BilevelLearner) -> None:
    """The state holds whole tensors of θ, and goes back into the shards."""
    state = copy.deepcopy(learner.state_dict()["model"])
    one_process = net(nn.LayerNorm(5).double())
    one_process.load_state_dict(state)
    shards = [cast("DTensor", p).to_local().clone() for p in learner.model.parameters()]
    whole = learner.state_dict()
    with torch.no_grad():
        for p in learner.model.parameters():
            p.zero_()
    learner.load_state_dict(whole | {"model": state})
    now = [cast("DTensor", p).to_local() for p in learner.model.parameters()]
    assert all(torch.equal(p, q) for p, q in zip(now, shards, strict=True))


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    answers = {
        known: {name: trained(name, rank, ranks, accumulate, kind) for name in ESTIMATORS}
        for known, (kind, accumulate) in KINDS.items()
    }
    if rank == 0:
        print(json.dumps(answers), flush=True)
    distributed.barrier()
    # Torn down as usual, gloo's threads now and then abort the process: "terminate called without an active exception".
    os._exit(0)
