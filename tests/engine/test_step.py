"""`learner.step`: the step that is taken is the step that is differentiated."""

import pytest
import torch
from torch import nn

from bilevel_hpo import BilevelLearner, Direct, FiniteDifference, MicroBatches, Neumann, OneStep, StepBatches, Unrolled
from tests.engine.problems import OPTIMIZERS, Case, Reassigned, Tied, batch, named, net, plain, weighted
from tests.engine.test_hypergradients import close

MODELS = {
    "plain": net,
    "dropout": lambda: net(nn.Dropout(0.4)),
    "batchnorm": lambda: net(nn.BatchNorm1d(5)),
    "tied": Tied,
    "reassigned-buffer": Reassigned,
}


def train_on(estimator):
    return StepBatches([batch(1), batch(3)]) if estimator.steps == 2 else batch(1)


@pytest.mark.parametrize(
    ("model", "optimizer"), [*(("plain", name) for name in OPTIMIZERS), *((name, "adam") for name in MODELS)]
)
@pytest.mark.parametrize("estimator", [OneStep(), FiniteDifference(), Unrolled(2), Neumann(2), Direct()], ids=repr)
def test_one_call_is_the_hypergradient_and_the_inner_step(estimator, model, optimizer):
    """The same g as `hypergradient` before it, the same θ as `inner_step`, and the same random state afterwards."""
    case = Case(MODELS[model](), OPTIMIZERS[optimizer], val_loss=named)
    learner = case.learner(estimator)
    torch.manual_seed(9)
    g = learner.hypergradient(train_on(estimator), batch(2))
    twin = Case(MODELS[model](), OPTIMIZERS[optimizer], val_loss=named)
    torch.manual_seed(9)
    expected_loss = twin.learner(estimator).inner_step(batch(1))
    state = torch.get_rng_state()

    raw = learner.weights.raw.detach().clone()  # type: ignore[attr-defined]
    learner.outer_optimizer = torch.optim.SGD(learner.weights.parameters(), lr=1.0)  # type: ignore[attr-defined]
    torch.manual_seed(9)
    loss = learner.step(train_on(estimator), batch(2))
    close(raw - learner.weights.raw.detach(), g, 1e-12)  # type: ignore[attr-defined]
    torch.testing.assert_close(loss, expected_loss, rtol=1e-14, atol=0)
    for ours, theirs in zip(case.model.state_dict().values(), twin.model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-15)
    assert torch.equal(torch.get_rng_state(), state)
    assert (learner.inner_steps, learner.outer_steps) == (1, 1)


def test_a_step_costs_two_passes_over_the_training_data():
    passes = []

    def counted(model, weights, data):
        passes.append(torch.is_grad_enabled())
        return weighted(model, weights, data)

    learner = Case(net()).learner(OneStep(), train_loss=counted)
    learner.step(batch(1), batch(2))
    assert len(passes) == 2


def test_the_terms_without_lambda_are_left_out_of_the_second_pass():
    def with_penalty(model, weights, data):
        full.append(1)
        return weighted(model, weights, data) + 0.1 * sum(p.square().sum() for p in model.parameters())

    def terms(model, weights, data):
        short.append(1)
        return weighted(model, weights, data)

    for estimator in (OneStep(tolerance=None), FiniteDifference(central=False, tolerance=None)):
        full, short = [], []
        case = Case(net(), train_loss=with_penalty)
        g = case.g(estimator, lambda_terms=terms)
        assert (len(full), len(short)) == (6, 1)  # five steps of warming up
        close(g, case.finite_difference(), 1e-4)


@pytest.mark.parametrize("estimator", [OneStep(), FiniteDifference()], ids=repr)
def test_micro_batches_take_one_step_with_their_mean_gradient(estimator):
    (x, y), both = batch(1, n=8), []
    for data in ((x, y), MicroBatches([(x[:4], y[:4]), (x[4:], y[4:])])):
        learner = Case(net(), OPTIMIZERS["adamw"]).learner(estimator)
        loss = learner.step(data, batch(2))
        both.append((loss, *(p.detach() for p in learner.model.parameters()), learner.weights().detach()))
    for whole, parts in zip(*both, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)


def autocast(model, weights, data):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return weighted(model, weights.float(), data)


def in_float32(estimator, train_loss, seed=0):
    model = net(seed=seed).float()
    lambda_ = torch.tensor([0.7, 1.3, 0.4])

    class Weights(nn.Module):
        def __init__(self):
            super().__init__()
            self.raw = nn.Parameter(lambda_)

        def forward(self):
            return self.raw * 1.0

        def project_(self):
            pass

    return BilevelLearner(
        model,
        torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
        Weights(),
        train_loss=train_loss,
        val_loss=lambda m, w, d: plain(m, w, tuple(part.float() for part in d)).float(),
        hypergradient=estimator,
    )


def single(loss):
    return lambda model, weights, data: loss(model, weights, tuple(part.float() for part in data))


@pytest.mark.parametrize("estimator", [OneStep(tolerance=None), Unrolled(1)], ids=repr)
def test_bfloat16_autocast_in_the_inner_step(estimator):
    """Close to the full precision, and not equal to it: the autocast was really in effect."""
    low, full = (in_float32(estimator, single(loss)) for loss in (autocast, weighted))
    g_low, g_full = (learner.hypergradient(batch(1, n=64), batch(2)) for learner in (low, full))
    assert g_low.dtype == torch.float32
    error = ((g_low - g_full).norm() / g_full.norm()).item()
    assert 1e-5 < error < 0.05
    low.fit([batch(1), batch(3)], [batch(2)], epochs=2, outer_every=1)
    assert low.skipped == 0


def test_a_finite_difference_under_autocast_is_refused():
    from bilevel_hpo import UnsupportedError

    with pytest.raises(UnsupportedError, match=r"autocast.*OneStep\(\)"):
        in_float32(FiniteDifference(), single(autocast)).fit([batch(1)], [batch(2)], epochs=1)
    learner = in_float32(FiniteDifference(), single(weighted))
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(UnsupportedError, match="autocast"):
        learner.hypergradient(batch(1), batch(2))
    model = net().bfloat16()
    with pytest.raises(UnsupportedError, match=r"torch\.bfloat16.*OneStep\(\)"):
        Case(model, warm=0).learner(FiniteDifference())


def test_a_finite_difference_in_float32():
    g, exact = (
        in_float32(estimator, single(weighted)).hypergradient(batch(1, n=64), batch(2))
        for estimator in (FiniteDifference(tolerance=None), OneStep())
    )
    assert 1e-7 < ((g - exact).norm() / exact.norm()).item() < 1e-2


def test_a_sparse_gradient_is_refused_by_name():
    from bilevel_hpo import UnsupportedError

    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(8, 5, sparse=True), nn.Linear(5, 3)
            self.double()

        def forward(self, x):
            return self.head(self.table((x[:, 0].abs() * 4).long().clamp(max=7)))

    with pytest.raises(UnsupportedError, match=r"'table.weight' has a sparse gradient.*sparse=False"):
        Case(Sparse(), OPTIMIZERS["sgd"]).g(OneStep())
