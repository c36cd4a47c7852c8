"""Bad input is answered with the name of the argument, what came, and what to write."""

import pytest
import torch
from torch import nn

from bilevel_hpo import BilevelLearner, ClipNorm, LossWeights, Neumann, OneStep, UnsupportedError
from tests.engine.problems import batch, budget_learner, net, plain, weighted

NAMES = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_clip": 1.0}, r"inner_clip=1\.0 is a float; it must be ClipNorm\(1\.0\).*ClipValue\(1\.0\)"),
        ({"inner_clip": ClipNorm}, r"inner_clip=.*is a type; it must be ClipNorm\(1\.0\)"),
        ({"hypergradient": OneStep}, r"hypergradient=OneStep is a class; it must be an estimator, OneStep\(\)"),
        ({"hypergradient": Neumann}, r"Neumann is a class; it must be an estimator, Neumann\(\)"),
        ({"hypergradient": "one_step"}, r"hypergradient='one_step' is a str; it must be an estimator.*OneStep\(\)"),
    ],
)
def test_an_argument_of_another_kind_is_named(options, message):
    with pytest.raises(TypeError, match=message):
        budget_learner(net(), NAMES, **options)


@pytest.mark.parametrize(
    ("weights", "came"),
    [([1.0, 1.0, 1.0], "a list"), (torch.ones(3), "a Tensor"), ({"a": 1.0}, "a dict"), (LossWeights, "the class Loss")],
)
def test_weights_that_are_no_module_are_named(weights, came):
    model = net()
    with pytest.raises(TypeError, match=rf"weights is {came}.*LossWeights\(\['a', 'b'\], init="):
        BilevelLearner(model, torch.optim.Adam(model.parameters()), weights, train_loss=weighted, val_loss=plain)


def test_labels_of_another_number_are_named():
    class Short(LossWeights):
        labels = ("a", "b")

    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.raises(ValueError, match=r"weights\.labels .* each of the 3 entries of λ; got 2, \['a', 'b'\]"):
        BilevelLearner(model, optimizer, Short(NAMES).double(), train_loss=weighted, val_loss=plain)


@pytest.mark.parametrize("call", ["inner_step", "step"])
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_step_without_gradients_is_named(call, context):
    learner = budget_learner(net(), NAMES)
    theta = [p.detach().clone() for p in learner.model.parameters()]
    arguments = (batch(0),) if call == "inner_step" else (batch(0), batch(20))
    with context(), pytest.raises(RuntimeError, match=r"step of the learner was called under torch\.no_grad\(\)"):
        getattr(learner, call)(*arguments)
    assert all(torch.equal(p, q) for p, q in zip(learner.model.parameters(), theta, strict=True))


def test_an_outer_step_under_no_grad_is_that_outside():
    one, other = (budget_learner(net(), NAMES) for _ in range(2))
    one.outer_step(batch(0), batch(20))
    with torch.no_grad():
        other.outer_step(batch(0), batch(20))
    assert not torch.equal(one.weights(), torch.full((3,), 1 / 3).double())
    assert torch.equal(one.weights(), other.weights())


@pytest.mark.parametrize("call", ["inner_step", "step"])
def test_a_train_loss_without_a_graph_is_named(call):
    learner = budget_learner(net(), NAMES, train_loss=lambda m, w, d: weighted(m, w, d).detach())
    arguments = (batch(0),) if call == "inner_step" else (batch(0), batch(20))
    with pytest.raises(
        UnsupportedError, match=r"train_loss\(model, weights, batch\) returned a scalar without a graph"
    ):
        getattr(learner, call)(*arguments)


def test_an_optimizer_that_shares_its_name_with_a_known_one_is_named_with_its_module():
    class Adafactor(torch.optim.Optimizer):
        """As transformers has one, with another step."""

        def __init__(self, params):
            super().__init__(params, {"lr": 0.1})

    Adafactor.__module__ = "transformers.optimization"
    model: nn.Module = net()
    with pytest.raises(
        UnsupportedError,
        match=r"inner optimizer transformers\.optimization\.Adafactor \(which is not Adafactor of torch",
    ):
        budget_learner(model, NAMES, inner_optimizer=Adafactor(model.parameters()))
