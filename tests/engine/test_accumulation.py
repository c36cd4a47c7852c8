"""Steps that are not taken on the batch at hand, under every kind of optimizer."""

import gc
import weakref
from typing import Any

import pytest
import torch

from bilevel_hpo import BilevelLearner, Budget, Direct, LossWeights, MicroBatches, Unrolled, UnsupportedError
from bilevel_hpo.optimizers import rule_for
from tests.engine.problems import batch, named, net, plain, weighted

NAMES = ["a", "b", "c"]
TRAIN = [batch(i) for i in range(6)]
VAL = batch(20)

KINDS = {
    "fused Adam": lambda p: torch.optim.Adam(p, lr=0.02, fused=True),
    "fused AdamW": lambda p: torch.optim.AdamW(p, lr=0.02, fused=True),
    "fused SGD": lambda p: torch.optim.SGD(p, lr=0.02, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.02),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def learner_of(optimizer: Any, model: torch.nn.Module, **options: Any) -> BilevelLearner:
    weights = LossWeights(NAMES, constraint=Budget()).double()
    val_loss = options.pop("val_loss", plain)
    return BilevelLearner(model, optimizer, weights, train_loss=weighted, val_loss=val_loss, **options)


def made(kind: str, **options: Any) -> BilevelLearner:
    model = net()
    return learner_of(KINDS[kind](model.parameters()), model, **options)


def backward(learner: BilevelLearner, data: Any, n: int = 1) -> None:
    (learner.train_loss(learner.model, learner.weights().detach(), data) / n).backward()


@kinds
def test_a_loop_of_ones_own_with_one_batch_a_step_is_not_refused(kind):
    learner = made(kind)
    before = learner.weights().detach().clone()
    for data in TRAIN:
        learner.outer_step(data, VAL)
        learner.inner_optimizer.zero_grad()
        backward(learner, data)
        learner.inner_optimizer.step()
    assert learner.outer_steps == len(TRAIN)
    assert not torch.equal(learner.weights(), before)


@kinds
@pytest.mark.parametrize("zeroed", [True, False])
def test_an_accumulation_by_hand_is_noticed(kind, zeroed):
    learner = made(kind)
    for data in TRAIN[:3]:
        backward(learner, data, 3)
    learner.inner_optimizer.step()
    if zeroed:
        learner.inner_optimizer.zero_grad()
    with pytest.raises(UnsupportedError, match=r"3 backward passes.*with 1,.*MicroBatches"):
        learner.outer_step(TRAIN[3], VAL)
    learner.outer_step(MicroBatches(TRAIN[3:6]), VAL)


@kinds
@pytest.mark.parametrize("call", ["step", "inner_step"])
def test_a_step_of_the_learner_does_not_drop_the_gradients_of_others(kind, call):
    learner = made(kind)
    theta, lambda_ = [p.detach().clone() for p in learner.model.parameters()], learner.weights().detach().clone()
    backward(learner, TRAIN[0], 2)
    arguments = (TRAIN[1], VAL) if call == "step" else (TRAIN[1],)
    with pytest.raises(UnsupportedError, match=r"1 backward pass;.*would drop these.*zero_grad.*MicroBatches"):
        getattr(learner, call)(*arguments)
    assert all(torch.equal(p, before) for p, before in zip(learner.model.parameters(), theta, strict=True))
    assert torch.equal(learner.weights(), lambda_)
    learner.inner_optimizer.zero_grad()
    getattr(learner, call)(*arguments)


@kinds
def test_steps_of_the_learner_and_of_others_may_alternate(kind):
    learner = made(kind)
    for data in TRAIN:
        learner.step(data, VAL)
        learner.inner_optimizer.zero_grad()
        backward(learner, data)
        learner.inner_optimizer.step()
    assert learner.outer_steps == len(TRAIN)


@pytest.mark.parametrize("kind", ["Adam", "fused Adam"])
def test_a_step_that_a_gradient_scaler_leaves_out_is_not_an_accumulation(kind):
    learner, scaler = made(kind), torch.amp.GradScaler("cpu", init_scale=1e30)
    for number, data in enumerate(TRAIN):
        learner.outer_step(data, VAL)
        learner.inner_optimizer.zero_grad()
        loss = learner.train_loss(learner.model, learner.weights().detach(), data)
        scaler.scale(1e300 * loss if number == 1 else loss).backward()
        scaler.step(learner.inner_optimizer)
        scaler.update()
    assert scaler.get_scale() == pytest.approx(0.5e30)  # one step overflowed
    assert learner.outer_steps == len(TRAIN)


class GradientState:
    """As accelerate's: whether this batch is the last of a step."""

    sync_gradients = True


class Wrapper(torch.optim.Optimizer):
    """A wrapper that steps on every second call only, as accelerate's does in `accelerator.accumulate`."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.calls = optimizer, 0

    @property
    def state(self) -> Any:
        return self.optimizer.state

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        if self.syncs():
            self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:
        if self.syncs():
            self.optimizer.step(closure)
        self.calls += 1

    def syncs(self) -> bool:
        return self.calls % 2 == 1


class AcceleratedOptimizer(Wrapper):
    """With the state that says so before the call."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(optimizer)
        self.gradient_state = GradientState()

    def syncs(self) -> bool:
        return self.gradient_state.sync_gradients


class Silent(Wrapper):
    """Without."""


Silent.__name__ = "AcceleratedOptimizer"


@pytest.mark.parametrize("estimator", [None, Unrolled(1), Direct()], ids=repr)
def test_no_lambda_moves_for_a_step_that_a_wrapper_leaves_out(estimator):
    model = net()
    optimizer = Silent(torch.optim.Adam(model.parameters(), lr=0.02))
    learner = learner_of(optimizer, model, hypergradient=estimator, val_loss=named)
    lambda_, theta = learner.weights().detach().clone(), [p.detach().clone() for p in model.parameters()]
    with pytest.raises(UnsupportedError, match=r"AcceleratedOptimizer around inner optimizer Adam.*MicroBatches"):
        learner.step(TRAIN[0], VAL)
    assert torch.equal(learner.weights(), lambda_)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), theta, strict=True))
    assert (learner.outer_steps, learner.inner_steps) == (0, 0)
    learner.inner_optimizer.optimizer.zero_grad()  # type: ignore[attr-defined]
    learner.inner_optimizer.calls = 1  # type: ignore[attr-defined]
    learner.step(TRAIN[0], VAL)
    assert (learner.outer_steps, learner.inner_steps) == (1, 1)


@pytest.mark.parametrize("call", ["step", "outer_step", "hypergradient", "inner_step"])
def test_accelerate_is_asked_before_anything_is_computed(call):
    model = net()
    learner = learner_of(AcceleratedOptimizer(torch.optim.Adam(model.parameters(), lr=0.02)), model)
    state = learner.inner_optimizer.gradient_state  # type: ignore[attr-defined]
    arguments = (TRAIN[1],) if call == "inner_step" else (TRAIN[1], VAL)
    state.sync_gradients = False
    with pytest.raises(UnsupportedError, match=r"no step on this batch \(accelerator\.accumulate\).*MicroBatches"):
        getattr(learner, call)(*arguments)
    assert all(p.grad is None for p in model.parameters())
    state.sync_gradients = True
    getattr(learner, call)(*arguments)


def test_the_counter_of_steps_is_shared_and_no_other_hook_is_allowed():
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(3):
        learner = learner_of(optimizer, model)
        learner.step(TRAIN[0], VAL)
    assert len(optimizer._optimizer_step_post_hooks) == 1
    rule_for(optimizer)
    optimizer.register_step_post_hook(lambda *_: None)
    with pytest.raises(UnsupportedError, match="step hooks"):
        rule_for(optimizer)


def test_a_learner_is_not_kept_alive_by_its_hooks():
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    learner = weakref.ref(learner_of(optimizer, model))
    gc.collect()
    assert learner() is None
    weighted(model, torch.ones(3).double(), TRAIN[0]).backward()
    optimizer.step()
