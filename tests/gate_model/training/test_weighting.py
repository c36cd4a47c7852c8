"""Every weighting rule against its formula, written out; the training loop against that of constant λ."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from bilevel_hpo import BilevelLearner, Box, OneStep, TransferRatios
from gate_model.data.batches import Batch
from gate_model.data.molecules.graphs import pack
from gate_model.data.prepared import PreparedData
from gate_model.model.gate import GATE
from gate_model.model.losses import DirectPathLoss, TrainLoss, path_matrix
from gate_model.model.message_passing import DirectedMPNN
from gate_model.training.methods import constant
from gate_model.training.settings import Settings
from gate_model.training.train import train, train_by_rule
from gate_model.training.weighting import (
    AutoLambda,
    Decay,
    DynamicWeightAverage,
    GradNorm,
    PCGrad,
    Rule,
    Uncertainty,
    dwa_weights,
    gradnorm_gradient,
    pcgrad_weights,
    target_gradients,
    target_losses,
    target_weights,
)
from tests.gate_model.gate_cases import batch, gate

T = 4
LOSS = TrainLoss(mapping="mean")
PLAIN = Settings(epochs=4, relative_losses=False)


class Ones(Rule):
    """All weights 1."""

    def backward(self, model: GATE, loss: TrainLoss, batch: Batch) -> Tensor:
        return target_losses(model, loss, batch, self.weights, self.lambda_)[0]


@pytest.fixture(autouse=True)
def _one_thread_in_double() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def single() -> None:
    """Trainings run in float32."""
    torch.set_default_dtype(torch.float32)


def per_target(model: GATE, b: Batch, lambda_: float) -> Tensor:
    """L_t `[T]` from the matrix of all paths."""
    paths = path_matrix(model, b)
    off = 1 - torch.eye(T)
    return paths.diagonal() + lambda_ / (T - 1) * (off * paths).sum(1)


def gradients(model: GATE) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("lambda_", [0.0, 0.3])
def test_losses_and_gradients_of_the_targets_are_those_of_one_backward_pass_each(lambda_: float) -> None:
    b, w = batch(T, unlabelled=(1,)), torch.tensor([0.5, 2.0, 1.0, 0.25])
    model = gate(T)
    z = model.embed(b.x)
    expected = torch.stack([torch.autograd.grad(w[t] * loss, z)[0] for t, loss in enumerate(_at(model, b, z, lambda_))])

    torch.manual_seed(1)
    total, losses = target_losses(model, LOSS, b, w, lambda_)
    whole = gradients(model)
    model.zero_grad()
    torch.manual_seed(1)
    step = target_gradients(model, LOSS, b, w, lambda_)

    torch.testing.assert_close(losses, per_target(model, b, lambda_).detach())
    torch.testing.assert_close(step.losses, losses)
    torch.testing.assert_close(step.of_z, expected)
    torch.testing.assert_close(step.total, total)
    assert step.of_z[1].abs().max() == 0, "a target without labels"
    step.z.backward(step.of_z.sum(0) + step.rest_of_z)
    for name, g in gradients(model).items():
        torch.testing.assert_close(g, whole[name], msg=name)


def _at(model: GATE, b: Batch, z: Tensor, lambda_: float) -> list[Tensor]:
    """L_t as functions of z, each with a graph of its own."""

    class FromZ(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return z

    embedding, model.embedding = model.embedding, FromZ()
    found = [per_target(model, b, lambda_)[t] for t in range(T)]
    model.embedding = embedding
    return found


def test_weights_of_targets_keep_the_ratio() -> None:
    W = target_weights(torch.tensor([2.0, 3.0]), 0.1)
    torch.testing.assert_close(W, torch.tensor([[2.0, 0.2], [0.3, 3.0]]))


def test_dwa_weights_by_hand() -> None:
    """Ratios 0.5 and 1, temperature 2: 2·e^0.25/(e^0.25 + e^0.5) and the rest of 2."""
    w = dwa_weights(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 3.0]), 2.0)
    torch.testing.assert_close(w, torch.tensor([0.87564700, 1.12435300]), atol=1e-7, rtol=0)


def test_dwa_takes_the_mean_losses_of_the_last_two_epochs() -> None:
    model, rule = gate(T), DynamicWeightAverage(T, lambda_=0.3)
    epochs = [[batch(T, seed=seed) for seed in (2 * e, 2 * e + 1)] for e in range(3)]
    means = [torch.stack([per_target(model, b, 0.3) for b in bs]).mean(0).detach() for bs in epochs]
    for e, bs in enumerate(epochs):
        before = rule.weights.clone()
        for b in bs:
            rule.backward(model, LOSS, b)
        rule.after_epoch()
        if e < 2:
            assert before.eq(1).all(), "the first two epochs"
    expected = T * torch.exp(means[2] / means[1] / 2) / torch.exp(means[2] / means[1] / 2).sum()
    torch.testing.assert_close(rule.weights, expected)
    assert rule.weights.sum() == pytest.approx(T)


def test_uncertainty_is_stationary_where_the_variance_is_the_loss() -> None:
    model, b, rule = gate(T), batch(T, unlabelled=(2,)), Uncertainty(T, lambda_=0.3)
    losses = per_target(model, b, 0.3).detach()
    torch.testing.assert_close(0.5 * torch.exp(-rule.log_variance.detach()), torch.ones(T))  # the start
    rule.backward(model, LOSS, b)
    torch.testing.assert_close(rule.log_variance.grad, torch.where(b.mask.any(0), 0.5 - losses, 0.0))
    with torch.no_grad():
        rule.log_variance.copy_(losses.clamp_min(1e-9).log())
    rule.log_variance.grad = None
    rule.backward(model, LOSS, b)
    torch.testing.assert_close(rule.log_variance.grad, torch.zeros(T), atol=1e-12, rtol=0)
    some = b.mask.any(0)
    torch.testing.assert_close(rule.weights[some], 0.5 / losses[some])


def test_gradnorm_gradient_against_finite_differences() -> None:
    """Of Σ|w_t n_t − goal_t|, the goals fixed at their present values."""
    w, n, losses = torch.tensor([0.5, 1.0, 1.5]), torch.tensor([2.0, 0.7, 0.1]), torch.tensor([0.3, 0.9, 0.5])
    goals = (w * n).mean() * (losses / losses.mean()) ** 1.5
    g = gradnorm_gradient(w * n, w, losses, 1.5)
    for t in range(3):
        shift = 1e-6 * torch.eye(3)[t]
        difference = ((w + shift) * n - goals).abs().sum() - ((w - shift) * n - goals).abs().sum()
        assert g[t] == pytest.approx(float(difference / 2e-6), rel=1e-6)


def test_gradnorm_takes_the_norms_in_the_last_layer_of_the_embedding() -> None:
    model, b, rule = gate(T), batch(T, unlabelled=(3,)), GradNorm(T, lambda_=0.3, lr=0.1)
    last = model.embedding[2].weight
    norms = torch.stack([torch.autograd.grad(loss, last)[0].norm() for loss in _fresh(model, b, 0.3)[:3]])
    losses = per_target(model, b, 0.3)[:3].detach()
    direction = gradnorm_gradient(norms, torch.ones(3), losses, 1.5).sign()
    torch.manual_seed(0)
    rule.backward(model, LOSS, b)
    moved = 1 - 0.1 * torch.cat([direction, torch.zeros(1)])  # Adam's first step is its learning rate
    torch.testing.assert_close(rule.weights, T * moved / moved.sum(), rtol=1e-6, atol=0)


def _fresh(model: GATE, b: Batch, lambda_: float) -> list[Tensor]:
    return [per_target(model, b, lambda_)[t] for t in range(T)]


def surgery(g: Tensor, orders: Tensor) -> Tensor:
    """PCGrad as printed: the projected gradients `[T, P]`."""
    projected = g.clone()
    for i, order in enumerate(orders.tolist()):
        for j in order:
            product = projected[i] @ g[j]
            if j != i and product < 0:
                projected[i] = projected[i] - product / (g[j] @ g[j]) * g[j]
    return projected


def test_pcgrad_weights_against_the_double_loop() -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        g = torch.randn(7, 5, generator=generator)
        g[3] = 0  # no label in the batch
        orders = torch.rand(7, 7, generator=generator).argsort(1)
        expected = surgery(g, orders).sum(0)
        assert not torch.allclose(expected, g.sum(0)), "nothing is in conflict"
        torch.testing.assert_close(pcgrad_weights(g @ g.T, orders) @ g, expected)


@pytest.mark.parametrize("lambda_", [0.0, 0.3])
def test_pcgrad_projects_the_gradients_of_the_embedding(lambda_: float) -> None:
    model, b = gate(T), batch(T, seed=3)
    plain = TrainLoss(mapping="mean", alpha=0.0, beta=0.0, delta=0.0)
    parameters = list(model.embedding.parameters())
    g = torch.stack(
        [torch.cat([p.flatten() for p in torch.autograd.grad(loss, parameters)]) for loss in _fresh(model, b, lambda_)]
    )
    torch.manual_seed(5)
    orders = torch.rand(T, T).argsort(1)
    torch.manual_seed(5)
    PCGrad(T, lambda_).backward(model, plain, b)
    found = torch.cat([p.grad.flatten() for p in parameters])
    torch.testing.assert_close(found, surgery(g, orders).sum(0))
    assert not torch.allclose(found, g.sum(0)), "nothing is in conflict"


def test_auto_lambda_is_the_hypergradient_of_one_sgd_step() -> None:
    model, ratios = gate(T), TransferRatios([*"abcd"], init=0.1, constraint=Box(0.0, 9.0)).double()

    def learner(estimator: object) -> BilevelLearner:
        return BilevelLearner(
            model,
            torch.optim.SGD(model.parameters(), lr=0.02),
            ratios,
            train_loss=TrainLoss(mapping="mean", delta=0.0),
            val_loss=DirectPathLoss(),
            hypergradient=estimator,
        )

    batches = batch(T, seed=1), batch(T, seed=2)
    exact = learner(OneStep()).hypergradient(*batches)
    found = learner(AutoLambda()).hypergradient(*batches)
    off = ~torch.eye(T, dtype=torch.bool)
    assert exact[off].abs().max() > 1e-5
    torch.testing.assert_close(found[off], exact[off], rtol=2e-3, atol=1e-8)


@pytest.mark.usefixtures("single")
def test_with_all_weights_one_the_training_is_that_of_constant_lambda(small_data: PreparedData) -> None:
    settings = Settings(epochs=3, relative_losses=False)
    for lambda_ in (1.0, 0.0):
        alone = train(small_data, constant("", "", lambda_), settings, seed=2)
        ones = train_by_rule(small_data, lambda n, value=lambda_: Ones(n, value), settings, seed=2)
        for (name, x), y in zip(alone.model.state_dict().items(), ones.model.state_dict().values(), strict=True):
            assert torch.equal(x, y), name
        for row, other in zip(alone.history, ones.history, strict=True):
            assert row["selection"] == other["selection"]
            assert row["train_loss"] == other["train_loss"]


def test_decay_is_an_exponential_of_the_share_of_steps_done() -> None:
    model, rule, found = gate(T), Decay(T, rate=1.5), []
    rule.before_training(4)
    for _ in range(4):
        total = rule.backward(model, replace(LOSS, delta=0.0), batch(T))
        found.append(rule.lambda_)
        off = 1 - torch.eye(T)
        expected = replace(LOSS, delta=0.0)(model, torch.eye(T) + rule.lambda_ * off, batch(T))
        torch.testing.assert_close(total, expected.detach())
    assert found == pytest.approx(np.exp(-1.5 * np.arange(4) / 4))


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("rule", [Decay, Uncertainty, DynamicWeightAverage, GradNorm, PCGrad])
def test_a_rule_learns_and_a_seed_gives_the_same_bits(small_data: PreparedData, rule: type[Rule]) -> None:
    one, other = (train_by_rule(small_data, rule, PLAIN, seed=1) for _ in range(2))
    assert torch.equal(one.trajectory, other.trajectory)
    for x, y in zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(x, y)
    assert [a["train_loss"] > b["train_loss"] for a, b in pairwise(one.history)].count(True) >= 2
    with pytest.raises(ValueError, match="must be trained in float32 with relative_losses=False"):
        train_by_rule(small_data, rule, replace(PLAIN, precision="bfloat16"), seed=0)


@pytest.mark.usefixtures("single")
def test_a_rule_is_reported_in_units_of_the_direct_path_and_stops_early(small_data: PreparedData) -> None:
    """λ is the rule's own number whatever w is; W as it entered the loss has w on its diagonal."""
    found = train_by_rule(small_data, lambda n: GradNorm(n, 0.5), replace(PLAIN, epochs=9, lr=0.02, patience=2), seed=1)
    assert {row["lambda_mean"] for row in found.history} == {0.5}
    w = found.trajectory.diagonal(dim1=1, dim2=2)
    assert (w[0] == 1).all()
    assert (w[-1] != 1).any()
    torch.testing.assert_close(found.trajectory[-1, 0, 1], 0.5 * w[-1, 0])
    scores = [row["selection"] for row in found.history]
    assert scores[found.epoch - 1] == min(scores)
    assert len(scores) == min(found.epoch + 2, 9)


def test_gradients_of_all_targets_pass_through_message_passing_at_once() -> None:
    graphs = pack(["CCO", "c1ccccc1O", "CC(=O)[O-]", "CCN", "CC(C)Cl"])
    model = GATE(DirectedMPNN(hidden=6, d=4), T, d=4, k=3).double()
    b = batch(T, n_molecules=5)
    z = model.embed(graphs[torch.arange(5)])
    parameters = list(model.embedding.parameters())
    of_z = torch.randn(T, *z.shape)
    found = torch.autograd.grad(z, parameters, of_z, retain_graph=True, is_grads_batched=True)
    for t in range(T):
        for one, g in zip(torch.autograd.grad(z, parameters, of_z[t], retain_graph=True), found, strict=True):
            torch.testing.assert_close(g[t], one)
    for rule in (GradNorm(T), PCGrad(T)):
        total = rule.backward(model, LOSS, b._replace(x=graphs[torch.arange(5)]))
        assert total.isfinite()


def test_a_negative_lambda_is_refused() -> None:
    with pytest.raises(ValueError, match="lambda_=-1"):
        Ones(3, -1.0)
