"""The default estimator in float32, against float64 from the same state."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bilevel_hpo import BilevelLearner, Budget, FiniteDifference, LossWeights, OneStep, UncertifiedWarning, Unrolled
from bilevel_hpo.hypergradients._float64 import Float64
from tests.engine.problems import Fixed

TASKS = 4


def batch(seed, n=32, inputs=16):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, inputs, generator=generator)
    return x, torch.tanh(x[:, :TASKS] + 0.1 * torch.randn(n, TASKS, generator=generator))


def train_loss(model, lambda_, data):
    x, y = data
    return lambda_ @ (model(x) - y).square().mean(0)


def val_loss(model, lambda_, data):
    x, y = data
    return (model(x) - y)[:, 0].square().mean()


def batch_norm_net():
    """The bias before BatchNorm has no effect; what float32 takes for its gradient is rounding."""
    return nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, TASKS))


def relu_net():
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, TASKS))


def learner(model, optimizer=None, estimator=None, **losses):
    return BilevelLearner(
        model,
        optimizer or torch.optim.AdamW(model.parameters(), lr=1e-3),
        LossWeights(list("abcd"), constraint=Budget()),
        **{"train_loss": train_loss, "val_loss": val_loss, **losses},
        hypergradient=estimator,
    )


def in_float64(subject, train, val):
    """`Unrolled(1)` on copies in float64."""
    model = copy.deepcopy(subject.model).double()
    optimizer = type(subject.inner_optimizer)(model.parameters(), lr=1.0)
    state = copy.deepcopy(subject.inner_optimizer.state_dict())
    optimizer.load_state_dict(state)  # in the dtype of θ, steps excepted
    twin = BilevelLearner(
        model,
        optimizer,
        Fixed(subject.weights().detach().double()),
        train_loss=subject.train_loss,
        val_loss=subject.val_loss,
        hypergradient=Unrolled(1),
    )
    return twin.hypergradient([part.double() for part in train], [part.double() for part in val])


def error(g, exact):
    return ((g.double() - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize(
    ("net", "estimator", "unchecked_error"),
    [
        (batch_norm_net, None, 2e-2),
        (relu_net, None, 5e-4),
        (batch_norm_net, FiniteDifference(), 2e-2),
        (relu_net, FiniteDifference(), 2e-2),
    ],
)
def test_float32_agrees_with_float64_from_the_first_step_on(net, estimator, unchecked_error):
    torch.manual_seed(0)
    checked = learner(net(), estimator=estimator)
    unchecked = learner(
        checked.model, checked.inner_optimizer, FiniteDifference(tolerance=None) if estimator else OneStep(None)
    )
    errors, without, recomputed = [], [], 0
    for step in range(12):
        train, val = batch(step), batch(100)
        exact = in_float64(checked, train, val)
        errors.append(error(checked.hypergradient(train, val), exact))
        recomputed += checked.certificate.computed_in == "float64"
        assert checked.certificate.certified
        without.append(error(unchecked.hypergradient(train, val), exact))
        checked.inner_step(train)
    assert max(errors) < min(5e-3, unchecked_error)
    assert max(without) > unchecked_error  # there was something to find
    assert recomputed >= (12 if net is batch_norm_net and estimator is None else 1)


def test_a_step_and_a_hypergradient_are_recomputed_alike():
    torch.manual_seed(0)
    subject = learner(batch_norm_net())
    twin = copy.deepcopy(subject)
    g = subject.hypergradient(batch(0), batch(1))
    twin.step(batch(0), batch(1))
    row = twin.history.iloc[0]
    assert row["computed_in"] == "float64"
    assert row["certified"]
    torch.testing.assert_close(g, torch.tensor(row[[f"g:{name}" for name in "abcd"]].tolist()), rtol=1e-6, atol=0)
    assert row["train_loss"] == pytest.approx(float(train_loss(subject.model, subject.weights(), batch(0))), rel=1e-6)


def test_where_the_residuals_are_rounding_themselves():
    """A net that fits its batch: forward and reverse mode share the rounded residuals, and agree on a wrong number."""
    torch.manual_seed(0)
    model = relu_net()
    subject = learner(model, torch.optim.Adam(model.parameters(), lr=1e-3))
    train, val = batch(0, n=4), batch(1)
    for _ in range(700):
        subject.inner_step(train)
    assert train_loss(model, subject.weights(), train) < 1e-9
    exact = in_float64(subject, train, val)
    assert error(subject.hypergradient(train, val), exact) < 1e-3
    assert subject.certificate.certified  # L_train, which is rounding too, is still taken for the same loss
    subject.estimator = OneStep(tolerance=None)
    assert error(subject.hypergradient(train, val), exact) > 0.1


@pytest.mark.parametrize("adaptive", [False, True])
def test_lambda_before_a_normalisation(adaptive):
    """torch's forward mode of layer_norm cannot be differentiated in λ: reverse mode is used, and checked alike."""

    def scaled(model, lambda_, data):
        x, y = data
        hidden = functional.layer_norm(torch.tanh(model[0](x)) * lambda_.repeat(8), (32,))
        return (model[2](hidden) - y).square().mean()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, TASKS))
    optimizer = torch.optim.Adam(model.parameters()) if adaptive else torch.optim.SGD(model.parameters(), lr=0.1)
    subject = learner(model, optimizer, train_loss=scaled)
    exact = in_float64(subject, batch(0), batch(1))
    assert error(subject.hypergradient(batch(0), batch(1)), exact) < 1e-5
    assert subject.certificate.computed_in == ("float64" if adaptive else "float32")
    assert subject.certificate.certified
    assert 0 < subject.certificate.error < 1e-4  # two slopes that are rounded otherwise


class ScaledBatchNorm(nn.Module):
    """λ scales the input of a Linear whose bias has no effect, because BatchNorm follows."""

    def __init__(self):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, TASKS)
        self.norm = nn.BatchNorm1d(32)

    def forward(self, x, lambda_):
        return self.last(torch.relu(self.norm(self.hidden(torch.relu(self.first(x)) * lambda_.repeat(8)))))


def test_a_right_slope_does_not_vouch_for_its_derivative_in_lambda():
    """After 200 steps on one batch the slope of reverse mode has seven digits, and g in float32 none."""

    def mean_error(model, lambda_, data):
        return (model(data[0], lambda_) - data[1]).square().mean()

    torch.manual_seed(0)
    model = ScaledBatchNorm()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = {"train_loss": mean_error, "val_loss": lambda m, w, data: mean_error(m, w.detach(), data)}
    subject, train = learner(model, optimizer, **losses), batch(0, n=8)
    for _ in range(200):
        subject.inner_step(train)
    exact = in_float64(subject, train, batch(999))
    assert error(subject.hypergradient(train, batch(999)), exact) < 1e-5
    assert (subject.certificate.computed_in, subject.certificate.certified) == ("float64", True)
    subject.estimator = OneStep(tolerance=None)
    assert error(subject.hypergradient(train, batch(999)), exact) > 0.02


def test_reverse_mode_under_autocast_is_not_checked_against_itself():
    """The last bits of θ, by which its two slopes differ, are cut off there."""

    def scaled(model, lambda_, data):
        x, y = data
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model[1](model[0](x))
        return (model[2](functional.layer_norm(hidden.float() * lambda_.repeat(8), (32,))) - y).square().mean()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, TASKS))
    subject = learner(model, torch.optim.SGD(model.parameters(), lr=0.1), train_loss=scaled)
    subject.hypergradient(batch(0), batch(1))
    assert (subject.certificate.computed_in, subject.certificate.certified) == ("float64", True)


class SinglePrecision(torch.autograd.Function):
    """An operation written for float32."""

    @staticmethod
    def forward(ctx, x):
        if x.dtype != torch.float32:
            raise TypeError("float32 only")
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad

    @staticmethod
    def jvp(ctx, tangent):
        return tangent.clone()


def test_what_cannot_be_computed_in_float64_is_counted_and_said_once():
    def loss(model, lambda_, data):
        return train_loss(lambda x: SinglePrecision.apply(model(x)), lambda_, data)

    torch.manual_seed(0)
    subject = learner(batch_norm_net(), train_loss=loss)
    with pytest.warns(UncertifiedWarning, match=r"float32 only.*learner\.uncertified"):
        subject.step(batch(0), batch(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject.step(batch(1), batch(1))
    assert subject.uncertified == 2
    assert subject.recomputed == 0
    assert subject.history["certified"].tolist() == [False, False]
    state = subject.state_dict()
    again = learner(batch_norm_net(), train_loss=loss)
    again.load_state_dict(state)
    assert again.uncertified == 2


@pytest.mark.parametrize("error", [AssertionError(), ValueError("float32 only"), KeyError("x")], ids=repr)
def test_an_error_in_float64_does_not_end_the_training(error):
    def loss(model, lambda_, data):
        predicted = model(data[0])
        if predicted.dtype == torch.float64:
            raise error
        return lambda_ @ (predicted - data[1]).square().mean(0)

    torch.manual_seed(0)
    subject = learner(batch_norm_net(), train_loss=loss)
    with pytest.warns(UncertifiedWarning, match=type(error).__name__):
        subject.step(batch(0), batch(1))
    assert (subject.inner_steps, subject.uncertified) == (1, 1)


class SelfAttention(nn.Module):
    """By torch's fused kernel, which has torch's tag of operations that draw random numbers."""

    def __init__(self):
        super().__init__()
        self.qkv, self.head = nn.Linear(4, 12), nn.Linear(16, TASKS)

    def forward(self, x):
        q, k, v = self.qkv(x.view(-1, 1, 4, 4)).chunk(3, -1)
        return self.head(functional.scaled_dot_product_attention(q, k, v).flatten(1))


def test_fused_attention_is_computed_in_float64_too():
    torch.manual_seed(0)
    subject = learner(SelfAttention())
    exact = in_float64(subject, batch(0), batch(1))
    assert error(subject.hypergradient(batch(0), batch(1)), exact) < 1e-6
    assert subject.certificate.computed_in == "float64"


def test_random_numbers_from_elsewhere_are_found_out():
    noise = np.random.default_rng(0)

    def loss(model, lambda_, data):
        x, y = data
        return train_loss(model, lambda_, (x + 0.3 * torch.tensor(noise.normal(size=x.shape), dtype=x.dtype), y))

    torch.manual_seed(0)
    model = relu_net()
    subject = learner(model, torch.optim.SGD(model.parameters(), lr=0.01), train_loss=loss)
    with pytest.warns(UncertifiedWarning, match="outside torch"):
        subject.hypergradient(batch(0), batch(1))


def test_a_zero_is_a_zero_in_float64_too():
    """λ_d weighs a loss that no parameter changes: its g is exactly 0, and so it is said to be."""

    def loss(model, lambda_, data):
        return train_loss(model, torch.cat([lambda_[:3], torch.zeros(1)]), data) + lambda_[3] * data[1].square().mean()

    torch.manual_seed(0)
    subject = learner(relu_net(), train_loss=loss)
    g = subject.hypergradient(batch(0), batch(1))
    assert g[3] == 0
    assert (g[:3] != 0).all()
    assert subject.certificate.certified


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_a_tolerance_is_positive(tolerance):
    with pytest.raises(ValueError, match="tolerance > 0"):
        OneStep(tolerance=tolerance)


def draws():
    x = torch.ones(5, 3)
    return [
        torch.randn(3),
        torch.rand(2, dtype=torch.float32),
        torch.randn_like(x),
        functional.dropout(x, 0.5),
        functional.dropout1d(x, 0.5),
        torch.bernoulli(x * 0.5),
        torch.empty(4).normal_(),
        torch.empty(4).uniform_(),
        torch.normal(0 * x, x),
        torch.randperm(5),
        torch.multinomial(x[0], 2),
        functional.gumbel_softmax(x),
    ]


def test_float64_draws_the_random_numbers_of_float32():
    torch.manual_seed(0)
    expected = draws()
    torch.manual_seed(0)
    with Float64(torch.float32):
        found = draws()
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == (torch.float64 if b.is_floating_point() else b.dtype)
        torch.testing.assert_close(a, b.to(a.dtype), rtol=1e-6, atol=1e-6)


def test_float64_reaches_constants_new_tensors_and_casts_and_changes_nothing_outside():
    constant, x = torch.full((3,), 1 / 3), torch.arange(3.0)
    before = [constant.clone(), x.clone()]
    with Float64(torch.float32):
        out = torch.zeros(2)
        out.index_add_(0, torch.tensor([0, 1, 1]), x * constant)
        y = (x.float() + 1e-12).to(torch.float32) - x
        x.mul_(2)
    assert out.dtype == y.dtype == torch.float64
    torch.testing.assert_close(out, torch.tensor([0.0, 1.0], dtype=torch.float64), rtol=1e-7, atol=0)
    torch.testing.assert_close(y, torch.full((3,), 1e-12, dtype=torch.float64), rtol=1e-3, atol=0)
    assert torch.equal(constant, before[0])
    assert torch.equal(x, before[1])
    assert x.dtype == torch.float32
