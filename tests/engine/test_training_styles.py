"""The ways people train, each against central differences of the real training step."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from bilevel_hpo import (
    BilevelLearner,
    ConjugateGradient,
    Direct,
    FiniteDifference,
    LossWeights,
    Neumann,
    OneStep,
    Unrolled,
    UnsupportedError,
)
from tests.engine.problems import OPTIMIZERS, Case, batch, named, net, plain, task_losses, weighted

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


UPSTREAM = {
    "softmax": lambda m, w, d: (torch.softmax(w * task_losses(m, d), 0) * task_losses(m, d)).sum(),
    "logsumexp": lambda m, w, d: torch.logsumexp(w * task_losses(m, d), 0),
    "cross-entropy": lambda m, w, d: nn.functional.cross_entropy(w * m(d[0]), d[1].argmax(1)),
    "temperature": lambda m, w, d: nn.functional.cross_entropy(m(d[0]) / w[0].exp(), d[1].argmax(1)) * w[1:].sum(),
    "layer-norm": lambda m, w, d: (nn.functional.layer_norm(m(d[0]) * w, (3,)) - d[1]).square().sum(),
    "batch-norm": lambda m, w, d: (
        (nn.functional.batch_norm(m(d[0]) + w * m(d[0]).square(), None, None, training=True) - d[1]).square().sum()
    ),
    "silu": lambda m, w, d: (nn.functional.silu(m(d[0]) * w) - d[1]).square().sum(),
    "glu": lambda m, w, d: nn.functional.glu((w * m(d[0]))[:, :2]).square().sum() + w @ task_losses(m, d),
    "attention": lambda m, w, d: (attended(w * m(d[0])) - d[1]).square().sum(),
    "solve": lambda m, w, d: torch.linalg.solve(torch.diag(w) + m(d[0]).T @ m(d[0]), d[1].T).square().sum(),
    "mse": lambda m, w, d: nn.functional.mse_loss(m(d[0]) * w, d[1]).square(),
    "huber": lambda m, w, d: nn.functional.huber_loss(m(d[0]) * w, d[1]).sqrt(),
    "inputs": lambda m, w, d: weighted(m, w, (d[0] * torch.cat([w, w[:1]]), d[1])),
}


def attended(x):
    return nn.functional.scaled_dot_product_attention(x[None], x[None], x[None])[0]


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(1)], ids=repr)
@pytest.mark.parametrize("loss", UPSTREAM)
def test_lambda_may_enter_before_any_operation(loss, estimator):
    check(Case(net(nn.LayerNorm(5)), train_loss=UPSTREAM[loss], warm=2), estimator)


class Checkpointed(nn.Module):
    def __init__(self, reentrant=False, active=True):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 5)).double()
        self.head = nn.Linear(5, 3).double()
        self.reentrant, self.active = reentrant, active
        self.runs = 0

    def run(self, x):
        self.runs += 1
        return self.body(x)

    def forward(self, x):
        return self.head(checkpoint(self.run, x, use_reentrant=self.reentrant) if self.active else self.run(x))


EVERY = [*LOOKING_AHEAD, ConjugateGradient(), Neumann(), Direct()]


@pytest.mark.parametrize("estimator", EVERY, ids=repr)
def test_activation_checkpointing_changes_no_number(estimator):
    cases = [Case(Checkpointed(active=active), val_loss=named) for active in (True, False)]
    checkpointed, plain_one = (case.g(estimator) for case in cases)
    close(checkpointed, plain_one, rtol=1e-12)
    if estimator in LOOKING_AHEAD:
        check(cases[0], estimator)


def test_checkpoints_save_memory_in_the_passes_with_a_backward_pass_of_their_own():
    model = Checkpointed()
    learner = Case(model).learner(OneStep())
    model.runs = 0
    learner.step(batch(1), batch(2))
    assert model.runs == 2 + 2 + 1  # the training step and L_val forward and backward, the forward-mode pass


@pytest.mark.parametrize("estimator", EVERY, ids=repr)
def test_a_reentrant_checkpoint_is_refused(estimator):
    with pytest.raises(UnsupportedError, match=r"use_reentrant=True.*pass use_reentrant=False"):
        Case(Checkpointed(reentrant=True), val_loss=named, warm=0).g(estimator)


class LoRALinear(nn.Module):
    """W x + B A x, with W frozen."""

    def __init__(self, linear, rank=2):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, linear.in_features).double())
        self.b = nn.Parameter(0.1 * torch.randn(linear.out_features, rank).double())

    def forward(self, x):
        return self.linear(x) + x @ self.a.T @ self.b.T


class LowRankUpdate(nn.Module):
    """The same as a parametrization of the weight."""

    def __init__(self, shape, rank=2):
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, shape[1]).double())
        self.b = nn.Parameter(0.1 * torch.randn(shape[0], rank).double())

    def forward(self, weight):
        return weight + self.b @ self.a


def adapted(parametrization):
    model = net(nn.LayerNorm(5, dtype=torch.float64)).requires_grad_(False)
    torch.manual_seed(1)
    if parametrization:
        parametrize.register_parametrization(model[0], "weight", LowRankUpdate(model[0].weight.shape))
    else:
        model[0] = LoRALinear(model[0])
    return model


@ahead
@pytest.mark.parametrize("parametrization", [True, False])
@pytest.mark.parametrize("everything", [True, False], ids=["all parameters", "adapters only"])
def test_adapters_on_a_frozen_backbone(estimator, parametrization, everything):
    model = adapted(parametrization)

    def held(model):
        return [p for p in model.parameters() if everything or p.requires_grad]

    assert 0 < sum(p.requires_grad for p in model.parameters()) < len(list(model.parameters()))
    check(Case(model, OPTIMIZERS["adamw"], parameters=held), estimator)


@ahead
def test_a_backbone_that_is_frozen_and_in_eval_mode(estimator):
    model = net(nn.BatchNorm1d(5, dtype=torch.float64), nn.Dropout(0.5))
    for part in model[:4]:
        part.requires_grad_(False).eval()
    check(Case(model, OPTIMIZERS["adamw"]), estimator)


def test_an_average_of_theta_beside_the_training_changes_nothing_and_is_not_trained():
    def trained(averaged):
        model = net()
        weights = LossWeights(["a", "b", "c"], init=0.5).double()
        learner = BilevelLearner(
            model,
            torch.optim.Adam(model.parameters(), lr=0.02),
            weights,
            train_loss=weighted,
            val_loss=named,
        )
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        expected = copy.deepcopy(model.state_dict())
        for i in range(6):
            learner.step(batch(i), batch(20 + i))
            if averaged:
                average.update_parameters(model)
            # the first update copies θ
            for name, p in model.named_parameters():
                expected[name] = p.detach().clone() if i == 0 else 0.9 * expected[name] + 0.1 * p.detach()
        if averaged:
            for name, p in average.module.named_parameters():
                torch.testing.assert_close(p, expected[name])
        return weights().detach(), model

    (with_average, model), (without, same) = trained(True), trained(False)
    assert torch.equal(with_average, without)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), same.parameters(), strict=True))


@ahead
def test_a_validation_loss_of_the_average_that_the_step_will_make(estimator):
    """L_val at θ̄' = .9 θ̄ + .1 θ': the average before is a constant, and torch.func puts θ̄' into the model."""
    model = net()
    average = {name: p.detach() * 0.8 for name, p in model.named_parameters()}

    def val_loss(model, weights, data):
        moved = {name: 0.9 * average[name] + 0.1 * p for name, p in model.named_parameters()}
        return plain(lambda x: torch.func.functional_call(model, moved, (x,)), weights, data)

    check(Case(model, val_loss=val_loss), estimator)


@dataclass
class Output:
    """As the models of transformers return it."""

    loss: torch.Tensor
    logits: torch.Tensor


class WithHead(nn.Module):
    """Takes keyword arguments, and computes a loss of its own."""

    def __init__(self):
        super().__init__()
        self.base_model = net(nn.LayerNorm(5, dtype=torch.float64))

    def forward(self, inputs=None, labels=None, weight=None):
        logits = self.base_model(inputs)
        losses = (logits - labels).square().mean(0)
        return Output(loss=losses.sum() if weight is None else weight @ losses, logits=logits)


@ahead
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_model_that_takes_a_dictionary_and_returns_an_object(estimator, wrapped):
    def train_loss(model, weights, data):
        return model(**dict(zip(("inputs", "labels"), data, strict=True)), weight=weights).loss

    def val_loss(model, weights, data):
        return model(inputs=data[0], labels=data[1]).loss

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = WithHead()

        def forward(self, **inputs):
            return self.model(**inputs)

    check(Case(Wrapper() if wrapped else WithHead(), train_loss=train_loss, val_loss=val_loss), estimator)


def test_a_gradient_scaler_in_a_loop_of_ones_own_changes_no_number():
    def trained(scaled):
        model, weights = net(), LossWeights(["a", "b", "c"], init=0.5).double()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        learner = BilevelLearner(model, optimizer, weights, train_loss=weighted, val_loss=plain)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=scaled)
        for i in range(8):
            learner.outer_step(batch(i), batch(20 + i))
            optimizer.zero_grad()
            scaler.scale(weighted(model, weights().detach(), batch(i))).backward()
            scaler.step(optimizer)
            scaler.update()
        return weights().detach()

    assert torch.equal(trained(True), trained(False))
    assert not torch.allclose(trained(True), torch.full((3,), 0.5, dtype=torch.float64), atol=1e-2)
