"""λ of several shapes at once, and very many λ."""

import pytest
import torch
from torch import nn

from bilevel_hpo import (
    BilevelLearner,
    Budget,
    ConjugateGradient,
    Direct,
    FiniteDifference,
    LossWeights,
    Neumann,
    Nystrom,
    OneStep,
    TransferRatios,
    Unrolled,
    WeightsDict,
)
from bilevel_hpo.problem import Structure
from tests.engine.problems import OPTIMIZERS, Case, Fixed, batch, net, plain, weighted
from tests.engine.test_hypergradients import close

FLAT = torch.cat(
    [
        torch.tensor([[1.0, 0.3, 0.2], [0.5, 1.0, 0.1], [0.4, 0.6, 1.0]]).reshape(-1),
        torch.tensor([0.7, 1.3, 0.4]),
        torch.tensor([0.01]),
    ]
).double()


def taken_apart(flat):
    return {"ratios": flat[:9].view(3, 3), "tasks": flat[9:12], "decay": flat[12]}


def mixed(model, weights, data):
    """A matrix, a vector and a scalar λ in one loss."""
    penalty = sum(p.square().sum() for p in model.parameters())
    return (
        weighted(model, weights["ratios"], data) + weighted(model, weights["tasks"], data) + weights["decay"] * penalty
    )


class Several(nn.Module):
    """`weights` that give a dict or a tuple of views of one vector."""

    def __init__(self, as_tuple):
        super().__init__()
        self.raw, self.as_tuple = nn.Parameter(FLAT.clone()), as_tuple

    def forward(self):
        parts = taken_apart(self.raw * 1.0)
        return tuple(parts.values()) if self.as_tuple else parts

    def project_(self):
        pass


@pytest.mark.parametrize("as_tuple", [False, True], ids=["dict", "tuple"])
@pytest.mark.parametrize(
    "estimator",
    [
        OneStep(),
        FiniteDifference(),
        Unrolled(2),
        Direct(),
        ConjugateGradient(damping=1.0),
        Neumann(3),
        Nystrom(4),
    ],
    ids=repr,
)
def test_several_shapes_have_the_gradient_of_one_vector(estimator, as_tuple):
    def named(weights):
        return dict(zip(("ratios", "tasks", "decay"), weights, strict=True)) if isinstance(weights, tuple) else weights

    whole = Case(
        net(),
        OPTIMIZERS["adamw"],
        lambda m, w, d: mixed(m, taken_apart(w), d),
        lambda m, w, d: plain(m, w, d) + 0.1 * mixed(m, taken_apart(w), d),
        lambda_=FLAT,
    )
    apart = BilevelLearner(
        whole.model,
        whole.optimizer,
        Several(as_tuple),
        train_loss=lambda m, w, d: mixed(m, named(w), d),
        val_loss=lambda m, w, d: plain(m, w, d) + 0.1 * mixed(m, named(w), d),
        hypergradient=estimator,
    )
    g = apart.hypergradient(batch(1), batch(2))
    assert isinstance(g, tuple if as_tuple else dict)
    shapes = [part.shape for part in (g if as_tuple else g.values())]
    assert shapes == [(3, 3), (3,), ()]
    flat = torch.cat([part.reshape(-1) for part in (g if as_tuple else g.values())])
    close(flat, whole.g(estimator), 1e-12)
    if estimator.steps == 1 and type(estimator) in (OneStep, FiniteDifference):
        close(flat, whole.finite_difference(), 1e-5)


def test_a_dict_of_weights_learns_under_all_its_constraints():
    torch.manual_seed(0)
    weights = WeightsDict(
        {"ratios": TransferRatios(list("abc"), constraint=Budget()), "tasks": LossWeights(["x", "y"], init=0.5)}
    ).double()
    model = net()
    learner = BilevelLearner(
        model,
        torch.optim.Adam(model.parameters(), lr=0.02),
        weights,
        train_loss=lambda m, w, d: weighted(m, w["ratios"], d) * w["tasks"][0] + w["tasks"][1] * plain(m, None, d),
        val_loss=plain,
    )
    assert weights.labels[:2] == ["ratios.a->a", "ratios.b->a"]
    assert weights.labels[-1] == "tasks.y"
    learner.fit([batch(1), batch(3)], [batch(2)], epochs=3, outer_every=1)
    lambda_ = weights()
    torch.testing.assert_close(lambda_["ratios"].sum(1), torch.ones(3, dtype=torch.float64))
    assert (lambda_["tasks"] > 0).all()
    assert learner.trajectory["ratios"].shape == (4, 3, 3)
    assert learner.trajectory["tasks"].shape == (4, 2)
    assert f"g:{weights.labels[-1]}" in learner.history.columns
    for name, start in (("ratios", learner.trajectory["ratios"][0]), ("tasks", learner.trajectory["tasks"][0])):
        assert not torch.allclose(lambda_[name], start, rtol=1e-3)


@pytest.mark.parametrize(
    ("lambda_", "message"),
    [
        (3.0, "returned float"),
        ([torch.ones(2)], "returned list"),
        ({}, "no tensor"),
        ((torch.ones(2), torch.ones(2).double()), "float32 on cpu, torch.float64 on cpu"),
        (torch.ones(2, dtype=torch.int64), "floating-point"),
        ({"a": 1.0}, "returned dict"),
    ],
)
def test_what_is_no_lambda_is_named(lambda_, message):
    with pytest.raises(TypeError, match=message):
        Structure(lambda_)


def test_an_empty_dict_of_weights_is_refused():
    with pytest.raises(ValueError, match="empty"):
        WeightsDict({})


@pytest.mark.parametrize("estimator", [OneStep(), FiniteDifference()], ids=repr)
def test_a_hundred_thousand_lambda_cost_as_many_passes_as_one(estimator):
    """A weight per example under SGD: g_i = −η ∇l_i(θ)·v, by the chain rule, with two passes over the train loss."""
    n, rate = 100_000, 0.1
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, k, generator=generator, dtype=torch.float64) for k in (3, 1))
    x_val, y_val = (torch.randn(50, k, generator=generator, dtype=torch.float64) for k in (3, 1))
    model, passes = nn.Linear(3, 1, bias=False).double(), []

    def train_loss(model, weights, data):
        passes.append(1)
        return weights @ (model(x) - y).square()[:, 0] / n

    learner = BilevelLearner(
        model,
        torch.optim.SGD(model.parameters(), lr=rate),
        Fixed(torch.ones(n, dtype=torch.float64)),
        train_loss=train_loss,
        val_loss=lambda model, *_: (model(x_val) - y_val).square().mean(),
        hypergradient=estimator,
    )
    g = learner.hypergradient(None, None)
    assert len(passes) == (2 if isinstance(estimator, OneStep) else 3)
    theta = model.weight.detach()[0]
    gradients = 2 * (x @ theta - y[:, 0])[:, None] * x / n
    stepped = theta - rate * gradients.sum(0)
    v = 2 * x_val.T @ (x_val @ stepped - y_val[:, 0]) / 50
    close(g, -rate * gradients @ v, 1e-6)


def test_a_dict_in_another_order_is_the_same_lambda():
    first = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
    structure = Structure(first)
    again = dict(reversed(first.items()))
    assert structure.flatten(again).tolist() == structure.flatten(first).tolist() == [1.0, 2.0, 3.0]
