"""Every estimator against finite differences of real training, closed forms, and each other."""

import pytest
import torch
from torch import nn

from bilevel_hpo import (
    ConjugateGradient,
    Direct,
    FiniteDifference,
    Neumann,
    Nystrom,
    OneStep,
    StepBatches,
    Unrolled,
)
from tests.engine import problems
from tests.engine.problems import OPTIMIZERS, Case, batch, decayed, named, net, plain, weighted

LAMBDAS = {
    "vector": torch.tensor([0.7, 1.3, 0.4], dtype=torch.float64),
    "matrix": torch.tensor([[1.0, 0.3, 0.2], [0.5, 1.0, 0.1], [0.4, 0.6, 1.0]], dtype=torch.float64),
}
LOSSES = {"weighted": weighted, "decayed": decayed}


def close(actual, expected, rtol):
    """Relative to the largest entry."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=rtol * expected.abs().max().item())


def case(optimizer="adam", train_loss=weighted, lambda_=LAMBDAS["vector"], model=None, **options):
    return Case(net() if model is None else model, OPTIMIZERS[optimizer], train_loss, lambda_=lambda_, **options)


@pytest.mark.parametrize("val_loss", [plain, named], ids=["plain", "named"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("train_loss", "lambda_"), [("weighted", "vector"), ("weighted", "matrix"), ("decayed", "vector")]
)
def test_one_step_is_the_slope_of_one_real_step(optimizer, train_loss, lambda_, val_loss):
    problem = case(optimizer, LOSSES[train_loss], LAMBDAS[lambda_], val_loss=val_loss)
    g = problem.g(OneStep())
    assert g.shape == LAMBDAS[lambda_].shape
    close(g, problem.finite_difference(), 1e-5)
    close(problem.g(Unrolled(1)), g, 1e-9)
    close(problem.g(FiniteDifference()), g, 1e-6)
    close(problem.g(FiniteDifference(epsilon=1e-7, central=False)), g, 1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("train_loss", [weighted, decayed], ids=["weights", "decay"])
def test_unrolled_is_the_slope_of_three_real_steps(optimizer, train_loss):
    problem = case(optimizer, train_loss)
    same, different = [batch(1)] * 3, [batch(1), batch(3), batch(4)]
    g = problem.g(Unrolled(3))
    close(g, problem.finite_difference(same), 1e-5)
    g_different = problem.g(Unrolled(3), StepBatches(different))
    close(g_different, problem.finite_difference(different), 1e-5)
    assert not torch.allclose(g, g_different, rtol=1e-3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_truncation_leaves_the_earlier_steps_constant(optimizer):
    """The oracle takes the first two steps at λ and varies λ in the last two only."""
    problem = case(optimizer, weighted)
    train, val = [batch(i) for i in (1, 3, 4, 5)], batch(2)
    truncated = problem.g(Unrolled(4, truncate=2), StepBatches(train))
    close(truncated, problem.finite_difference(train, constant=2), 1e-5)
    full = problem.g(Unrolled(4, truncate=4), StepBatches(train), val)
    assert torch.equal(full, problem.g(Unrolled(4), StepBatches(train), val))
    assert not torch.allclose(truncated, full, rtol=1e-4)


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(1), FiniteDifference()], ids=repr)
@pytest.mark.parametrize("warm", [0, 1])
def test_the_first_steps_of_training(estimator, warm):
    problem = case("sgd-momentum", warm=warm)
    close(problem.g(estimator), problem.finite_difference(), 1e-5)


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(1), FiniteDifference()], ids=repr)
def test_adam_with_a_large_eps_from_the_first_step(estimator):
    problem = Case(net(), lambda p: torch.optim.Adam(p, lr=0.02, eps=1.0), warm=0)
    close(problem.g(estimator), problem.finite_difference(), 1e-5)


class Point(nn.Module):
    """θ itself."""

    def __init__(self, start):
        super().__init__()
        self.theta = nn.Parameter(start.clone())


@pytest.mark.parametrize(("estimator", "steps"), [(OneStep(), 1), (Unrolled(1), 1), (Unrolled(4), 4)])
def test_a_quadratic_has_its_closed_form(estimator, steps):
    """L_train = Σ λ_i (θ_i − a_i)² / 2, L_val = Σ (θ_i − b_i)² / 2, SGD with rate η: after K steps
    θ_i = a_i + (1 − ηλ_i)^K (θ0_i − a_i), so dL_val/dλ_i = −Kη (1 − ηλ_i)^(K−1) (θ0_i − a_i) (θ_i − b_i)."""
    torch.manual_seed(0)
    theta, a, b = torch.randn(3, 3, dtype=torch.float64)
    lambda_, rate = LAMBDAS["vector"], 0.3
    problem = Case(
        Point(theta),
        lambda p: torch.optim.SGD(p, lr=rate),
        lambda model, weights, _: (weights * (model.theta - a).square()).sum() / 2,
        lambda model, weights, _: (model.theta - b).square().sum() / 2,
        warm=0,
    )
    shrink = 1 - rate * lambda_
    moved = a + shrink**steps * (theta - a)
    close(problem.g(estimator), -steps * rate * shrink ** (steps - 1) * (theta - a) * (moved - b), 1e-14)


def test_direct_is_the_partial_derivative_and_never_negative():
    problem = case(val_loss=weighted)
    with torch.no_grad():
        losses = problems.task_losses(problem.model, batch(2))
    g = problem.g(Direct())
    close(g, losses, 1e-14)
    assert (g >= 0).all()


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(1)], ids=repr)
def test_the_explicit_part_is_added(estimator):
    """With a loss that names λ, d/dλ = ∂/∂λ at the stepped θ + the part through θ."""
    problem = case(val_loss=named)
    whole = problem.g(estimator)
    through_theta = problem.g(estimator, val_loss=lambda m, w, d: named(m, LAMBDAS["vector"], d) + 0.0 * (w * w).sum())
    stepped = case(val_loss=named)
    stepped._step(stepped.model, stepped.optimizer, stepped.lambda_, batch(1))
    close(whole, through_theta + stepped.g(Direct()), 1e-12)


# Properties of every estimator.

ALL = [
    Direct(),
    OneStep(),
    FiniteDifference(),
    Unrolled(1),
    Unrolled(3),
    Unrolled(3, truncate=2),
    ConjugateGradient(damping=1.0),
    Neumann(terms=3),
    Nystrom(rank=8),
]
ROUNDING = {FiniteDifference: 1e-7, Nystrom: 1e-9}
every_estimator = pytest.mark.parametrize("estimator", ALL, ids=repr)


@every_estimator
def test_permuting_the_tasks_permutes_g(estimator):
    order = [2, 0, 1]

    def permuted(model, weights, data):
        return weights @ problems.task_losses(model, data)[order]

    g = case(val_loss=named).g(estimator)
    problem = case(val_loss=named)
    problem.lambda_ = problem.lambda_[order]
    unpermuted = torch.argsort(torch.tensor(order))
    g_permuted = problem.g(estimator, train_loss=permuted, val_loss=lambda m, w, d: named(m, w[unpermuted], d))
    close(g_permuted, g[order], ROUNDING.get(type(estimator), 1e-12))


@every_estimator
def test_an_unused_source_gets_exactly_zero(estimator):
    problem = case(val_loss=weighted)

    def unused(model, weights, data):
        return weights[::2] @ problems.task_losses(model, data)[::2]

    g = problem.g(estimator, train_loss=unused, val_loss=unused)
    assert g[1].item() == 0.0
    assert (g[::2] != 0).all()


@every_estimator
def test_scaling_the_validation_loss_scales_g(estimator):
    problem = case(val_loss=named)
    scaled = problem.g(estimator, val_loss=lambda m, w, d: -8.0 * named(m, w, d))
    close(scaled, -8.0 * problem.g(estimator), ROUNDING.get(type(estimator), 1e-12))


@every_estimator
def test_g_is_detached_and_the_same_again(estimator):
    problem = case(val_loss=named)
    g = problem.g(estimator)
    assert not g.requires_grad
    assert torch.equal(problem.g(estimator), g)


@pytest.mark.parametrize("steps", [0, -1])
def test_unrolled_needs_a_step(steps):
    with pytest.raises(ValueError, match=f"steps >= 1; got {steps}"):
        Unrolled(steps)


def test_step_batches_must_be_as_many_as_the_steps():
    with pytest.raises(ValueError, match=r"Unrolled\(steps=3\) needs 3 batches; StepBatches holds 2"):
        case().g(Unrolled(3), StepBatches([batch(1), batch(2)]))
