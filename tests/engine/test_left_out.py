"""Outer steps that must not be taken although the hypergradient is finite: a loss that is not, λ that would not be."""

import copy
import warnings

import pytest
import torch
from torch import nn

from bilevel_hpo import (
    ActiveSet,
    BilevelLearner,
    Box,
    Budget,
    FiniteDifference,
    LossWeights,
    NonFiniteError,
    NonFiniteWarning,
    OneStep,
    UncertifiedWarning,
    Unrolled,
)
from tests.engine.problems import batch, budget_learner, net, plain, weighted

NAMES = ["a", "b", "c"]
TRAIN = [batch(i) for i in range(5)]
VAL = batch(20)
EMPTY = torch.zeros(7, dtype=torch.bool)


def masked(model, weights, data):
    """A mean over the rows that a mask leaves: NaN with gradient 0 where it leaves none."""
    x, y = data[:2]
    rows = data[2] if len(data) > 2 else ~EMPTY
    return (model(x)[rows] - y[rows]).square().mean()


def constant_nan(model, weights, data):
    """NaN whose gradient is that of the loss without it."""
    loss = weighted(model, weights, data[:2])
    return loss + float("nan") if len(data) > 2 else loss


@pytest.mark.parametrize("estimator", [OneStep(), FiniteDifference(), Unrolled(1)], ids=repr)
@pytest.mark.parametrize("call", ["step", "outer_step"])
def test_a_validation_loss_of_nothing_moves_no_lambda(estimator, call):
    learner = budget_learner(net(), NAMES, val_loss=masked, hypergradient=estimator, max_skipped=3)
    getattr(learner, call)(TRAIN[0], VAL)
    before, state = learner.weights().detach().clone(), copy.deepcopy(learner.outer_optimizer.state_dict())
    with pytest.warns(NonFiniteWarning, match=r"outer step 2 is finite, but not its losses.*L_val = nan") as warned:
        getattr(learner, call)(TRAIN[1], (*VAL, EMPTY))
    assert not [one for one in warned if one.category is UncertifiedWarning]
    assert torch.equal(learner.weights(), before)
    assert str(learner.outer_optimizer.state_dict()) == str(state)
    assert (learner.outer_steps, learner.skipped) == (1, 1)
    assert learner.history["skipped"].tolist() == [False, True]
    with pytest.warns(NonFiniteWarning, match="outer step 3"):
        getattr(learner, call)(TRAIN[1], (*VAL, EMPTY))
    with pytest.raises(NonFiniteError, match=r"outer step 4.*That makes 3 in a row"):
        getattr(learner, call)(TRAIN[1], (*VAL, EMPTY))


@pytest.mark.parametrize("call", ["step", "outer_step"])
def test_a_training_loss_that_is_nan_moves_no_lambda(call):
    learner = budget_learner(net(), NAMES, train_loss=constant_nan)
    before = learner.weights().detach().clone()
    with pytest.warns(NonFiniteWarning, match=r"but not its losses; L_train = nan, L_val = \d"):
        getattr(learner, call)((*TRAIN[0], EMPTY), VAL)
    assert torch.equal(learner.weights(), before)
    getattr(learner, call)(TRAIN[0], VAL)
    assert not torch.equal(learner.weights(), before)


def half(make, constraint=None, active=None):
    """λ in float16, θ in float32; a third entry of a validation batch scales its loss."""
    weights, model = LossWeights(NAMES, init=0.5, constraint=constraint).half(), net().float()
    return BilevelLearner(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        weights,
        train_loss=lambda m, w, d: weighted(m, w.float(), [x.float() for x in d]),
        val_loss=lambda m, w, d: plain(m, w, [x.float() for x in d[:2]]).float() * (d[2] if len(d) > 2 else 1.0),
        outer_optimizer=make(weights.parameters()),
        active=active,
    )


@pytest.mark.parametrize("active", [None, ActiveSet(0.6, rotation=1)], ids=["all", "in turn"])
@pytest.mark.parametrize("constraint", [None, Box(0, 1), Budget(1.5)], ids=repr)
def test_a_step_that_makes_lambda_nan_is_undone(constraint, active):
    """g² underflows in float16, and so does Adam's eps: the step is g/0."""
    learner = half(lambda p: torch.optim.Adam(p, lr=0.02), constraint, active=active)
    before = learner.weights.raw.detach().clone()
    with pytest.warns(NonFiniteWarning, match=r"outer_optimizer Adam made λ NaN or infinite in outer step 1.*float16"):
        learner.step(TRAIN[0], (*VAL, 1e-3))  # a Box would make a bound of an infinite λ
    assert torch.equal(learner.weights.raw, before)
    assert not learner.outer_optimizer.state
    assert (learner.outer_steps, learner.skipped) == (0, 1)


def test_the_state_of_the_optimizer_is_that_of_before():
    """The first step is good, the second overflows: momentum and settings come back."""

    class Doubling(torch.optim.SGD):
        """Changes a setting of its own in every step, as schedule-free optimizers do."""

        def step(self, closure=None):
            super().step(closure)
            self.param_groups[0]["lr"] *= 2

    learner = half(lambda p: Doubling(p, lr=0.5, momentum=0.9))
    learner.step(TRAIN[0], VAL)
    raw = learner.weights.raw.detach().clone()
    momentum = learner.outer_optimizer.state[learner.weights.raw]["momentum_buffer"].clone()
    learner.outer_optimizer.param_groups[0]["lr"] = 6e4
    with pytest.warns(NonFiniteWarning, match="was undone"):
        learner.step(TRAIN[1], (*VAL, 1e3))
    assert torch.equal(learner.weights.raw, raw)
    assert torch.equal(learner.outer_optimizer.state[learner.weights.raw]["momentum_buffer"], momentum)
    assert learner.outer_optimizer.param_groups[0]["lr"] == 6e4


def test_an_eps_that_the_precision_has_lets_lambda_move():
    learner = half(lambda p: torch.optim.Adam(p, lr=0.02, eps=1e-4))
    before = learner.weights().detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error", NonFiniteWarning)
        learner.step(TRAIN[0], (*VAL, 1e-3))
    assert not torch.equal(learner.weights(), before)


def test_lambda_itself_is_looked_at():
    class Pole(nn.Module):
        def __init__(self):
            super().__init__()
            self.raw = nn.Parameter(torch.full((3,), 2.0, dtype=torch.float64))

        def forward(self):
            return self.raw.sqrt()

    model, weights = net(), Pole()
    learner = BilevelLearner(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        weights,
        train_loss=weighted,
        val_loss=lambda m, w, d: plain(m, w, d) + w.sum(),
        outer_optimizer=torch.optim.SGD(weights.parameters(), lr=100.0),  # to raw < 0, whose root is NaN
    )
    with pytest.warns(NonFiniteWarning, match="was undone"):
        learner.step(TRAIN[0], VAL)
    assert torch.equal(weights().detach(), torch.full((3,), 2.0).double().sqrt())
