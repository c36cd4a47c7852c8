"""Two processes with half of every batch each, and micro-batches, learn the λ of one process with the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import distribute_module

from bilevel_hpo import BilevelLearner, ClipNorm, Direct, LossWeights, MicroBatches, OneStep, Unrolled, UnsupportedError
from tests.engine.problems import OPTIMIZERS, Case, batch, net
from tests.engine.ranks import ESTIMATORS, KINDS, trained


@pytest.fixture(scope="module")
def two_ranks() -> Any:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    answer = subprocess.run(
        [*command, "-m", "tests.engine.ranks"],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_two_ranks_learn_the_lambda_of_one(two_ranks, estimator):
    whole = trained(estimator, rank=0, ranks=1)
    assert two_ranks.keys() == KINDS.keys()
    for kind, answers in two_ranks.items():
        assert max(abs(a - b) for a, b in zip(answers[estimator], whole, strict=True)) < 1e-10, kind
    assert abs(whole[0] - 0.5) > 0.05


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_micro_batches_learn_the_lambda_of_the_whole_batch(estimator):
    whole, accumulated = (trained(estimator, rank=0, ranks=1, accumulate=n) for n in (1, 4))
    assert max(abs(a - b) for a, b in zip(accumulated, whole, strict=True)) < 1e-10


@pytest.mark.parametrize(
    "estimator", [e for e in [*ESTIMATORS.values(), Unrolled(1)] if not isinstance(e, Direct)], ids=repr
)
def test_micro_batches_have_the_hypergradient_of_their_union(estimator):
    case, (x, y) = Case(net(), OPTIMIZERS["adamw"]), batch(1, n=8)
    parts = MicroBatches([(x[:4], y[:4]), (x[4:], y[4:])])
    torch.testing.assert_close(case.g(estimator, parts), case.g(estimator, (x, y)), rtol=1e-8, atol=1e-12)


@pytest.fixture
def one_rank(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def refused(model, parameters, match, **options):
    with pytest.raises(UnsupportedError, match=match):
        BilevelLearner(
            model,
            torch.optim.SGD(parameters, lr=0.1),
            LossWeights(["a"]),
            train_loss=lambda *_: None,
            val_loss=lambda *_: None,
            **options,
        )


def test_unrolled_is_refused_with_ranks(one_rank):
    model = net()
    wrapped = nn.parallel.DistributedDataParallel(model)
    refused(wrapped, model.parameters(), r"Unrolled\(steps=2\).*OneStep", hypergradient=Unrolled(2))
    sharded = fully_shard(net())
    refused(sharded, sharded.parameters(), r"Unrolled\(steps=2\).*OneStep", hypergradient=Unrolled(2))  # type: ignore[attr-defined]


def test_other_ways_of_sharding_are_refused_by_their_names(one_rank):
    def first(module):
        return FullyShardedDataParallel(module, use_orig_params=True, device_id=torch.device("cpu"))

    message, whole = r"FullyShardedDataParallel \(FSDP1\).*fully_shard \(FSDP2\)", first(net())
    refused(whole, whole.parameters(), message)
    linear, tanh, head = net()
    part = nn.Sequential(linear, tanh, first(head))
    refused(part, part.parameters(), message)
    parallel = net()
    mesh = init_device_mesh("cpu", (1,))
    distribute_module(parallel, mesh)
    refused(parallel, parallel.parameters(), r"tensor parallelism.*fully_shard")
    low = fully_shard(net(), mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    refused(low, low.parameters(), "mp_policy")  # type: ignore[attr-defined]


def test_what_does_not_reach_the_shards_is_refused(one_rank):
    sharded = fully_shard(net())
    refused(sharded, sharded.parameters(), "inner_clip", inner_clip=ClipNorm(1.0))  # type: ignore[attr-defined]


def test_a_state_saved_with_ranks_is_read_without(one_rank):
    def learner(model, inner):
        return BilevelLearner(
            model,
            torch.optim.SGD(inner.parameters(), lr=0.1),
            LossWeights(["a", "b", "c"]).double(),
            train_loss=lambda m, w, b: w @ (m(b[0]) - b[1]).square().mean(0),
            val_loss=lambda m, w, b: (m(b[0]) - b[1]).square().mean(),
            hypergradient=OneStep(),
        )

    inner = net()
    wrapped = learner(nn.parallel.DistributedDataParallel(inner), inner).fit([batch(1)], [batch(2)], epochs=2)
    bare_model = net(seed=3)
    bare = learner(bare_model, bare_model)
    bare.load_state_dict(wrapped.state_dict())
    assert torch.equal(bare.fit([batch(1)], [batch(2)], 4).weights(), wrapped.fit([batch(1)], [batch(2)], 4).weights())
