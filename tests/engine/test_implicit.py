"""Implicit hypergradients: the linear solvers by themselves, closed forms, and training to the end."""

import copy

import pytest
import torch
from torch import nn

from bilevel_hpo import (
    ConjugateGradient,
    FiniteDifference,
    Neumann,
    Nystrom,
    OneStep,
    Unrolled,
    UnsupportedError,
    conjugate_gradient,
)
from tests.engine.problems import Case, batch, net, plain
from tests.engine.test_hypergradients import Point, close


def positive_definite(n, seed=0, low=0.5, high=4.0):
    """Symmetric `[n, n]` with eigenvalues spread evenly from `low` to `high`, and a vector `[n]`."""
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    return q @ torch.diag(torch.linspace(low, high, n, dtype=torch.float64)) @ q.T, torch.randn(
        n, generator=generator, dtype=torch.float64
    )


@pytest.mark.parametrize("seed", range(5))
def test_conjugate_gradient_is_exact_after_as_many_iterations_as_dimensions(seed):
    a, b = positive_definite(12, seed)
    products = []
    x = conjugate_gradient(lambda p: (products.append(1), a @ p)[1], b, iterations=12, tolerance=0.0)
    assert len(products) <= 12
    expected = torch.linalg.solve(a, b)
    assert (x - expected).norm() <= 1e-12 * expected.norm()


def test_conjugate_gradient_needs_one_iteration_per_distinct_eigenvalue():
    q, _ = positive_definite(12)
    vectors = torch.linalg.eigh(q)[1]
    a = vectors @ torch.diag(torch.tensor([1.0, 2.0, 5.0] * 4, dtype=torch.float64)) @ vectors.T
    b = torch.ones(12, dtype=torch.float64)
    close(conjugate_gradient(lambda p: a @ p, b, iterations=3, tolerance=0.0), torch.linalg.solve(a, b), 1e-12)


def test_conjugate_gradient_stops_at_its_tolerance_and_at_negative_curvature():
    a, b = positive_definite(12)
    x = conjugate_gradient(lambda p: a @ p, b, iterations=100, tolerance=1e-3)
    residual = (b - a @ x).norm() / b.norm()
    assert 1e-6 < residual <= 1e-3
    assert torch.equal(conjugate_gradient(lambda p: -p, b, iterations=5, tolerance=0.0), b)
    assert torch.equal(conjugate_gradient(lambda p: p, 0 * b, iterations=5, tolerance=0.0), 0 * b)


P, N = 12, 3


class Quadratic:
    """L_train = ½ θᵀ(A + Σ λ_i A_i)θ − (b + Bλ)ᵀθ, L_val = ½ ‖θ − c‖².

    So θ* = H⁻¹(b + Bλ) and dθ*/dλ_i = H⁻¹(B_i − A_i θ*).
    """

    def __init__(self, decay=0.0):
        self.a, self.b = positive_definite(P)
        parts = [positive_definite(P, seed=i + 1) for i in range(N)]
        self.parts, self.columns = torch.stack([a for a, _ in parts]), torch.stack([b for _, b in parts], 1)
        self.c = torch.linspace(-1, 1, P, dtype=torch.float64)
        self.lambda_ = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
        self.h = (
            self.a + torch.einsum("i,ijk->jk", self.lambda_, self.parts) + decay * torch.eye(P, dtype=torch.float64)
        )
        self.optimum = torch.linalg.solve(self.h, self.b + self.columns @ self.lambda_)
        self.v = self.optimum - self.c

    def train(self, model, weights, _):
        theta = model.theta
        h = self.a + torch.einsum("i,ijk->jk", weights, self.parts)
        return theta @ h @ theta / 2 - (self.b + self.columns @ weights) @ theta

    def val(self, model, weights, _):
        return (model.theta - self.c).square().sum() / 2

    def slope(self, inverse_times_v):
        """dL_val/dλ for q = H⁻¹v."""
        return (self.columns - torch.einsum("ijk,k->ji", self.parts, self.optimum)).T @ inverse_times_v

    def case(self, make=lambda p: torch.optim.SGD(p, lr=0.1), **options):
        train = options.pop("train_loss", self.train)
        return Case(Point(self.optimum), make, train, self.val, lambda_=self.lambda_, warm=0)


def exact(problem):
    return problem.slope(torch.linalg.solve(problem.h, problem.v))


def test_a_quadratic_has_its_closed_form():
    problem = Quadratic()
    close(problem.case().g(ConjugateGradient()), exact(problem), 1e-12)
    close(problem.case().g(Neumann(terms=400)), exact(problem), 1e-12)
    damped = problem.h + 0.03 * torch.eye(P, dtype=torch.float64)
    close(problem.case().g(Nystrom(rank=P, damping=0.03)), problem.slope(torch.linalg.solve(damped, problem.v)), 1e-12)
    close(
        problem.case().g(ConjugateGradient(damping=0.03)), problem.slope(torch.linalg.solve(damped, problem.v)), 1e-12
    )
    close(problem.case().g(Unrolled(300)), exact(problem), 1e-12)


@pytest.mark.parametrize("terms", [1, 2, 5])
def test_neumann_is_the_partial_sum(terms):
    problem, alpha = Quadratic(), 0.1
    steps = [
        torch.linalg.matrix_power(torch.eye(P, dtype=torch.float64) - alpha * problem.h, j) @ problem.v
        for j in range(terms)
    ]
    close(problem.case().g(Neumann(terms, step_size=alpha)), problem.slope(alpha * sum(steps)), 1e-13)


def test_neumann_is_gradient_descent_unrolled_at_the_optimum():
    problem = Quadratic()
    close(problem.case().g(Neumann(7, step_size=0.1)), problem.case().g(Unrolled(7)), 1e-12)


def test_a_low_rank_sketch_leaves_the_rest_to_the_damping():
    """H of rank 3 plus nothing: a sketch of rank 3 is exact, one of rank 2 is not."""
    vectors = torch.linalg.eigh(positive_definite(P)[0])[1][:, :3]
    h = vectors @ torch.diag(torch.tensor([5.0, 3.0, 1.0], dtype=torch.float64)) @ vectors.T
    v = torch.linspace(-1, 2, P, dtype=torch.float64)
    expected = torch.linalg.solve(h + 0.1 * torch.eye(P, dtype=torch.float64), v)
    close(Nystrom(rank=3, damping=0.1).solve(lambda x: h @ x, v), expected, 1e-12)
    assert not torch.allclose(Nystrom(rank=2, damping=0.1).solve(lambda x: h @ x, v), expected, rtol=1e-2)
    assert not torch.equal(*(Nystrom(rank=2, seed=s).solve(lambda x: h @ x, v) for s in (0, 1)))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.2),
        lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.2),
        lambda p: torch.optim.RMSprop(p, lr=0.1, weight_decay=0.2),
        lambda p: torch.optim.Rprop([{"params": p, "weight_decay": 0.2}]),
    ],
)
def test_weight_decay_belongs_to_the_inner_problem(make):
    problem = Quadratic(decay=0.2)
    close(problem.case(make).g(ConjugateGradient()), exact(problem), 1e-12)
    assert not torch.allclose(exact(problem), exact(Quadratic()), rtol=1e-2)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.AdamW(p, weight_decay=0.2),
        lambda p: torch.optim.Adafactor(p, weight_decay=0.2),
        lambda p: Lion(p, {"weight_decay": 0.2, "decoupled_weight_decay": True}),
    ],
)
def test_decoupled_weight_decay_is_left_out(make):
    problem = Quadratic()
    close(problem.case(make).g(ConjugateGradient()), exact(problem), 1e-12)


def test_decoupled_weight_decay_of_muon_is_left_out():
    model = nn.Sequential(nn.Linear(4, 3, bias=False)).double()
    with_decay, without = (
        Case(model, lambda p, decay=decay: torch.optim.Muon(p, weight_decay=decay), warm=0).g(
            ConjugateGradient(damping=1)
        )
        for decay in (0.2, 0.0)
    )
    close(with_decay, without, 1e-12)


class Lion(torch.optim.Optimizer):
    """Nothing of it is known but its settings."""

    def step(self, closure=None):
        """It is never taken."""


def test_a_decay_of_which_nothing_is_known_is_refused():
    problem = Quadratic(decay=0.2)
    with pytest.raises(
        UnsupportedError, match=r"Lion has weight_decay=0\.2.*'decoupled_weight_decay' \(False or True\)"
    ):
        problem.case(lambda p: Lion(p, {"weight_decay": 0.2})).g(ConjugateGradient())
    without = Quadratic()
    for defaults in ({"weight_decay": 0.0}, {}):
        close(without.case(lambda p, d=defaults: Lion(p, d)).g(ConjugateGradient()), exact(without), 1e-12)
    said = {"weight_decay": 0.2, "decoupled_weight_decay": False}
    close(problem.case(lambda p: Lion(p, said)).g(ConjugateGradient()), exact(problem), 1e-12)


def test_an_inner_problem_that_maximizes():
    problem = Quadratic()
    case = problem.case(lambda p: torch.optim.SGD(p, lr=0.1, maximize=True), train_loss=lambda *a: -problem.train(*a))
    close(case.g(ConjugateGradient()), exact(problem), 1e-12)


def test_groups_that_pull_in_different_directions_are_refused():
    case = Case(net(), warm=0)
    case.optimizer = torch.optim.SGD(
        [{"params": case.model[0].parameters(), "maximize": True}, {"params": case.model[2].parameters()}], lr=0.1
    )
    with pytest.raises(UnsupportedError, match="maximize"):
        case.learner(Neumann())


def regression(model, weights, data):
    """Convex: weighted squared errors and a ridge whose strength is λ too."""
    x, y = data
    losses = (model(x) - y).square().mean(0)
    return weights[:3] @ losses + weights[3] * sum(p.square().sum() for p in model.parameters())


def trained_to_the_end(lambda_, make):
    torch.manual_seed(0)
    model = nn.Linear(4, 3).double()
    optimizer = make(model.parameters())
    for _ in range(500):
        optimizer.zero_grad()
        regression(model, lambda_, batch(1, n=20)).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.8),
        lambda p: torch.optim.SGD(p, lr=0.3, weight_decay=0.1),
    ],
    ids=["momentum", "weight-decay"],
)
def test_training_to_the_end_has_the_implicit_slope(make):
    lambda_, h = torch.tensor([0.7, 1.3, 0.4, 0.05], dtype=torch.float64), 1e-4
    with torch.no_grad():
        slopes = [
            (
                plain(trained_to_the_end_(lambda_ + h * e, make), None, batch(2))
                - plain(trained_to_the_end_(lambda_ - h * e, make), None, batch(2))
            )
            / (2 * h)
            for e in torch.eye(4, dtype=torch.float64)
        ]
    model = trained_to_the_end(lambda_, make)
    case = Case(model, make, regression, lambda_=lambda_, warm=0)
    data = batch(1, n=20)
    expected = torch.stack(slopes)
    close(case.g(ConjugateGradient(), data), expected, 1e-6)
    close(case.g(Neumann(terms=500), data), expected, 1e-6)
    close(case.g(Nystrom(rank=15, damping=1e-9), data), expected, 1e-6)
    assert not torch.allclose(case.g(OneStep(), data), expected, rtol=0.3)  # it sees one step only


@torch.enable_grad()
def trained_to_the_end_(lambda_, make):
    return trained_to_the_end(lambda_, make)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Neumann(terms=0), "terms >= 1; got 0"),
        (lambda: Neumann(step_size=0.0), "step_size > 0; got 0"),
        (lambda: ConjugateGradient(iterations=0), "iterations >= 1; got 0"),
        (lambda: ConjugateGradient(damping=-1.0), "damping >= 0; got -1"),
        (lambda: ConjugateGradient(tolerance=2.0), "tolerance < 1; got 2"),
        (lambda: Nystrom(rank=0), "rank >= 1; got 0"),
        (lambda: Nystrom(damping=0.0), "damping > 0; got 0"),
        (lambda: Unrolled(3, truncate=4), "truncate <= steps=3; got 4"),
        (lambda: FiniteDifference(epsilon=-1.0), "epsilon > 0; got -1"),
    ],
)
def test_a_bad_argument_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_reprs_can_be_read_back():
    estimators = [
        Neumann(3, step_size=0.5),
        ConjugateGradient(5, damping=0.1, tolerance=0.01),
        Nystrom(4, damping=0.5, seed=2),
        Unrolled(4, truncate=2),
        FiniteDifference(epsilon=0.001, central=True),
    ]
    for estimator in estimators:
        again = eval(repr(estimator))
        assert {k: v for k, v in vars(again).items() if k[0] != "_"} == {
            k: v for k, v in vars(copy.copy(estimator)).items() if k[0] != "_"
        }
