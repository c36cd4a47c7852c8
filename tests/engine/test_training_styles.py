"""The ways people train, each against central differences of the real training step."""

import copy

import pytest
import torch
from torch import nn

from bilevel_hpo import (
    BilevelLearner,
    ConjugateGradient,
    Direct,
    FiniteDifference,
    LossWeights,
    Neumann,
    OneStep,
    Unrolled,
)
from tests.engine.problems import OPTIMIZERS, Case, batch, named, net, plain, weighted

LOOKING_AHEAD = [OneStep(), FiniteDifference(), Unrolled(1), Unrolled(2)]
ahead = pytest.mark.parametrize("estimator", LOOKING_AHEAD, ids=repr)


def close(actual, expected, rtol=1e-5):
    torch.testing.assert_close(actual, expected, rtol=0, atol=rtol * expected.abs().max().item())


def check(case, estimator):
    close(case.g(estimator), case.finite_difference([batch(1)] * estimator.steps))


class Block(nn.Module):
    """torch's own containers and layers are not compiled in place (`nn.Sequential.compile` does nothing)."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 5)

    def forward(self, x):
        return torch.tanh(self.linear(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.block, self.head = Block(), nn.Linear(5, 3)
        self.double()

    def forward(self, x):
        return self.head(self.block(x))


def whole(model, backend):
    return torch.compile(model, backend=backend)


def in_place(model, backend):
    model.compile(backend=backend)
    return model


def submodule(model, backend):
    model.block = torch.compile(model.block, backend=backend)
    return model


def submodule_in_place(model, backend):
    model.block.compile(backend=backend)
    return model


COMPILED = [whole, in_place, submodule, submodule_in_place]


@pytest.fixture(autouse=True)
def fresh_compiler():
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("compiled", COMPILED)
@pytest.mark.parametrize("estimator", [*LOOKING_AHEAD, ConjugateGradient(), Neumann(), Direct()], ids=repr)
def test_a_compiled_model_has_the_hypergradient_of_the_model_underneath(compiled, backend, estimator):
    plain_case = Case(Net(), OPTIMIZERS["adamw"], val_loss=named)
    case = copy.deepcopy(plain_case)
    case.model = compiled(case.model, backend)
    close(case.g(estimator), plain_case.g(estimator), rtol=1e-12)


@pytest.mark.parametrize("compiled", COMPILED)
def test_a_compiled_model_is_trained_by_its_compiled_code(compiled):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def learned(model):
        weights = LossWeights(["a", "b", "c"], init=0.5).double()
        return BilevelLearner(
            model,
            torch.optim.AdamW(model.parameters(), lr=0.02),
            weights,
            train_loss=weighted,
            val_loss=named,
            hypergradient=OneStep(),
        ).fit([batch(i) for i in range(4)], [batch(9)], epochs=3, outer_every=2)

    expected = learned(Net())
    assert not graphs
    learner = learned(compiled(Net(), backend))
    assert graphs
    torch.testing.assert_close(learner.weights(), expected.weights(), rtol=1e-12, atol=0)
    state = {name.replace("_orig_mod.", ""): value for name, value in learner.model.state_dict().items()}
    for name, value in expected.model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-12, atol=0)


def test_the_state_of_a_compiled_model_is_read_by_one_that_is_not():
    case = Case(Net())
    state = case.learner().state_dict()
    case.model = torch.compile(case.model, backend="eager")
    assert case.learner().state_dict()["model"].keys() == state["model"].keys()
    case.learner().load_state_dict(state)


def test_a_compiled_loss_is_differentiated_as_it_was_written():
    case = Case(net())
    check(Case(net(), train_loss=torch.compile(weighted, backend="aot_eager")), OneStep())
    close(case.g(OneStep(), val_loss=torch.compile(plain, backend="aot_eager")), case.finite_difference())
