"""Modules that keep tensors as plain attributes: an estimator leaves them as the training left them."""

import copy

import pytest
import torch
from torch import nn

from bilevel_hpo import (
    BilevelLearner,
    ConjugateGradient,
    FiniteDifference,
    LossWeights,
    OneStep,
    Unrolled,
)
from bilevel_hpo.problem import kept_attributes
from tests.engine.problems import batch, net, plain, weighted

NAMES = ["a", "b", "c"]
ESTIMATORS = pytest.mark.parametrize(
    "estimator", [OneStep(), FiniteDifference(), Unrolled(1), Unrolled(2), ConjugateGradient()], ids=repr
)


class Recording(nn.Module):
    """Notes its hidden layer, and the mean of it in two ways: anew in every forward pass, and in place."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.net = net().to(dtype)
        self.last: torch.Tensor | None = None
        self.mean = torch.zeros(5, dtype=dtype)
        self.written = torch.zeros(5, dtype=dtype)
        self.calls = 0

    def forward(self, x):
        hidden = self.net[1](self.net[0](x))
        self.calls += 1
        self.last = hidden
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * hidden.detach().mean(0)
            self.written.mul_(0.9).add_(0.1 * hidden.detach().mean(0))
            self.first = hidden.detach() if not hasattr(self, "first") else self.first
        return self.net[2](hidden - self.mean + self.written.square())


def learner_of(model, estimator, lr=0.02):
    weights = LossWeights(NAMES, init=0.5).to(next(model.parameters()))
    return BilevelLearner(
        model,
        torch.optim.Adam(model.parameters(), lr=0.02),
        weights,
        train_loss=weighted,
        val_loss=lambda m, w, d: plain(m, w, d).to(w.dtype),
        hypergradient=estimator,
        outer_optimizer=torch.optim.SGD(weights.parameters(), lr=lr),
    )


@ESTIMATORS
def test_a_hypergradient_leaves_attributes_as_they_were(estimator):
    learner = learner_of(Recording(), estimator)
    learner.hypergradient(batch(0), batch(20))
    assert learner.model.last is None
    assert not hasattr(learner.model, "first")
    assert not learner.model.written.any()
    learner.inner_step(batch(1))
    model = learner.model
    kept, values = (model.last, model.mean, model.written, model.first), copy.deepcopy(model.written)
    calls = model.calls
    learner.outer_step(batch(1), batch(20))
    assert all(
        one is other for one, other in zip(kept, (model.last, model.mean, model.written, model.first), strict=True)
    )
    assert torch.equal(model.written, values)
    assert model.calls > calls  # the count is no tensor


@ESTIMATORS
def test_training_sees_what_it_would_see_without_outer_steps(estimator):
    ours, other = learner_of(Recording(), estimator, lr=0.0), learner_of(Recording(), estimator)
    for i in range(5):
        ours.step(batch(i), batch(20 + i))
        other.inner_step(batch(i))
        for name in ("last", "mean", "written", "first"):
            torch.testing.assert_close(getattr(ours.model, name), getattr(other.model, name), rtol=1e-12, atol=1e-15)
    for p, q in zip(ours.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-15)


def test_a_recomputation_in_float64_leaves_no_float64():
    learner = learner_of(Recording(torch.float32), OneStep())
    data = [tuple(x.float() for x in batch(i)) for i in (0, 20)]
    for _ in range(3):
        learner.step(*data)
        assert learner.model.last.dtype == learner.model.mean.dtype == learner.model.written.dtype == torch.float32
        assert learner.model.last.requires_grad
        learner.hypergradient(*data)
        assert learner.model.mean.dtype == torch.float32
    assert learner.recomputed >= 1


def test_attributes_come_back_after_an_error_and_others_are_left_alone():
    model = nn.Linear(2, 2)
    model.note, model.cache, model.tensor = "a", [1], torch.zeros(2)
    bias = model.bias

    def fails():
        with kept_attributes(model):
            model.note, model.tensor = "b", torch.ones(3)
            model.cache.append(2)
            del model.tensor
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert torch.equal(model.tensor, torch.zeros(2))
    assert (model.note, model.cache) == ("b", [1, 2])
    assert model.bias is bias
