"""One step of the inner optimizer and its transposed derivative, of whole models."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bilevel_hpo import OneStep, Unrolled, UnsupportedError
from bilevel_hpo.hypergradients import _update
from bilevel_hpo.hypergradients._update import updated
from bilevel_hpo.optimizers import rule_for
from bilevel_hpo.problem import BilevelProblem, Params
from tests.engine.problems import OPTIMIZERS, Case, net

MORE: dict[str, Any] = {
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.02, weight_decay=0.1),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=0.5, eps=1e-2),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.05, lambd=0.1, weight_decay=0.1),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.02),
    "muon": lambda p: torch.optim.Muon([q for q in p if q.ndim == 2], lr=0.02),
}
ALL = {**OPTIMIZERS, **MORE}


def model(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 3)).to(dtype)


def nothing(*_: Any) -> Tensor:
    raise AssertionError("an update needs no loss")


def problem_of(make: Any, warm: int, dtype: torch.dtype = torch.float64) -> tuple[BilevelProblem, Params, Params]:
    """A problem after `warm` steps, θ and g of the next."""
    network = model(dtype)
    optimizer = make(network.parameters())
    for _ in range(warm + 1):
        for p in network.parameters():
            p.grad = torch.randn_like(p)
        if warm:
            optimizer.step()
            warm -= 1
    problem = BilevelProblem(network, optimizer, nothing, nothing, torch.ones(1))
    params = problem.parameters()
    named = dict(network.named_parameters())
    return problem, params, {name: named[name].grad for name in params}


@pytest.mark.parametrize("chunk", [5, 1 << 17])
@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("name", ALL)
def test_after_is_the_real_step_and_nothing_is_changed(name, warm, chunk, monkeypatch):
    monkeypatch.setattr(_update, "CHUNK", chunk)
    problem, params, g = problem_of(ALL[name], warm)
    before = copy.deepcopy((params, g, problem.optimizer.state_dict()))
    update = updated(problem, params, g)
    torch.testing.assert_close((params, g, problem.optimizer.state_dict()), before, rtol=0, atol=0)
    problem.optimizer.step()
    assert list(update.after) == list(params)
    torch.testing.assert_close(update.after, problem.parameters(), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("chunk", [5, 1 << 17])
@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("name", ALL)
def test_pull_back_is_the_derivative_of_v_times_the_step(name, warm, chunk, monkeypatch):
    monkeypatch.setattr(_update, "CHUNK", chunk)
    problem, params, g = problem_of(ALL[name], warm)
    update = updated(problem, params, g)
    rule = rule_for(problem.optimizer)
    v = {name: torch.randn_like(p) for name, p in params.items()}
    expected: Params = {}
    names = problem.names()
    for group in problem.optimizer.param_groups:
        for p in group["params"]:
            gi = g[names[id(p)]].clone().requires_grad_()
            state = {k: s for k, s in problem.optimizer.state.get(p, {}).items() if s is not None}
            moved, _ = rule.update(p.detach(), gi, state, group)
            (expected[names[id(p)]],) = torch.autograd.grad(moved, gi, v[names[id(p)]])
    problem.optimizer.step()  # as a learner may, before v is known
    u = update.pull_back({**v, "without gradient": torch.ones(2)})
    torch.testing.assert_close(u, expected, rtol=1e-7, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in ALL if name != "muon"])
def test_float64_of_a_float32_optimizer_is_that_of_the_optimizer_cast_to_float64(name):
    problem, params, g = problem_of(ALL[name], 3, torch.float32)
    doubled = copy.deepcopy(problem.model).double()
    optimizer = ALL[name](doubled.parameters())
    optimizer.load_state_dict(copy.deepcopy(problem.optimizer.state_dict()))
    other = BilevelProblem(doubled, optimizer, nothing, nothing, torch.ones(1))
    ours = updated(problem, {name: p.double() for name, p in params.items()}, g)
    theirs = updated(other, other.parameters(), {name: gi.double() for name, gi in g.items()})
    torch.testing.assert_close(ours.after, theirs.after, rtol=1e-9, atol=0)  # NAdam holds a product in float32
    v = {name: torch.randn_like(p) for name, p in ours.after.items()}
    u = ours.pull_back(dict(v))
    assert {ui.dtype for ui in u.values()} == {torch.float64}
    torch.testing.assert_close(u, theirs.pull_back(dict(v)), rtol=1e-6, atol=1e-12)


def test_a_linear_step_has_one_number_per_parameter():
    problem, params, g = problem_of(lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.2), 2)
    assert updated(problem, params, g).slope == dict.fromkeys(params, pytest.approx(-0.05 * 0.8, rel=1e-15))


def test_a_parameter_without_gradient_has_no_entry():
    problem, params, g = problem_of(OPTIMIZERS["adam"], 2)
    del g["1.weight"]
    update = updated(problem, params, g)
    assert "1.weight" not in update.after
    assert list(update.pull_back(dict(params))) == [name for name in params if name != "1.weight"]


def test_parameters_of_other_memory_layouts_and_of_no_dimension():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
            self.kernel = nn.Parameter(torch.randn(4, 3, 2, 2).double().to(memory_format=torch.channels_last))
            self.empty = nn.Parameter(torch.empty(0).double())

    network = Odd()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(3):
        for p in network.parameters():
            p.grad = torch.randn_like(p)
        optimizer.step()
    problem = BilevelProblem(network, optimizer, nothing, nothing, torch.ones(1))
    params = problem.parameters()
    update = updated(problem, params, {name: p.grad for name, p in network.named_parameters()})
    optimizer.step()
    for name in ("scale", "kernel"):
        torch.testing.assert_close(update.after[name], getattr(network, name).detach(), rtol=1e-14, atol=0)


def test_a_sparse_gradient_is_refused():
    problem, params, g = problem_of(OPTIMIZERS["sgd"], 0)
    g["0.weight"] = g["0.weight"].to_sparse()
    with pytest.raises(UnsupportedError, match=r"'0.weight' has a sparse gradient"):
        updated(problem, params, g)


@pytest.mark.parametrize("name", [name for name in MORE if name != "muon"])
@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(1)], ids=repr)
def test_hypergradients_of_the_newer_rules_are_those_of_real_steps(name, estimator):
    case = Case(net(), MORE[name])
    torch.testing.assert_close(case.g(estimator), case.finite_difference(), rtol=2e-6, atol=1e-9)


def test_onestep_and_unrolled_agree_on_muon():
    case = Case(net(), MORE["muon"])
    torch.testing.assert_close(case.g(OneStep()), case.g(Unrolled(1)), rtol=1e-10, atol=1e-14)


def test_muons_hypergradient_is_that_of_real_steps_but_for_bfloat16():
    case = Case(net(), MORE["muon"])
    expected = case.finite_difference(h=0.3)
    assert torch.cosine_similarity(case.g(OneStep()), expected, dim=0) > 0.95
