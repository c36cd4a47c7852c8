"""Optimizers from outside, subclasses and wrappers: which rule they get, and what is said where there is none."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bilevel_hpo import Direct, Neumann, OneStep, Unrolled, UnsupportedError, optimizers
from bilevel_hpo.optimizers import _registry
from tests.engine.problems import OPTIMIZERS, Case, batch, net


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(_registry, "_RULES", dict(_registry._RULES))


class Cubic(torch.optim.Optimizer):
    """θ' = θ − lr·(m + m³)/(1 + t), m a running mean and t the steps so far."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    moved, self.state[p] = cubic(p, p.grad, self.state[p], group)
                    p.copy_(moved)


def cubic(p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    seen = state.get("seen", 0)
    mean = 0.5 * state["mean"] + 0.5 * g if "mean" in state else g.clone()
    return p - group["lr"] * (mean + mean**3) / (1 + seen), {"seen": seen + 1, "mean": mean}


class Normalized(torch.optim.Optimizer):
    """θ' = θ − lr·g/‖g‖: all elements of g move each element of θ."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.copy_(normalized(p, p.grad, {}, group)[0])


def normalized(p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    return p - group["lr"] * g / g.norm(), state


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(2)], ids=repr)
@pytest.mark.parametrize(
    ("cls", "update", "options"),
    [(Cubic, cubic, {"scalars": ("seen",)}), (Normalized, normalized, {"elementwise": False})],
)
def test_a_registered_rule_gives_the_hypergradient_of_real_steps(cls, update, options, estimator):
    optimizers.register(cls, update, **options)
    assert optimizers.supported()[-1] == cls.__name__
    case = Case(net(), lambda p: cls(p, lr=0.05))
    expected = case.finite_difference(train=[batch(1)] * estimator.steps)
    torch.testing.assert_close(case.g(estimator), expected, rtol=1e-6, atol=1e-9)


def test_a_state_of_another_shape_is_refused_with_what_to_do():
    optimizers.register(Cubic, cubic)
    with pytest.raises(UnsupportedError, match=r"state\['seen'\] of parameter '0.weight'.* is int; .*scalars=.*'seen'"):
        Case(net(), lambda p: Cubic(p, lr=0.05)).g(OneStep())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((object, cubic), "subclass of torch.optim.Optimizer as cls; got"), ((Cubic, 3), "needs a function .* got 3")],
)
def test_register_says_what_it_needs(arguments, message):
    with pytest.raises(TypeError, match=message):
        optimizers.register(*arguments)


def test_a_class_without_a_rule_cannot_be_stepped_as():
    with pytest.raises(UnsupportedError, match="Normalized has no rule that Cubic could share"):
        optimizers.register(Cubic, Normalized)


class Renamed(torch.optim.AdamW):
    """AdamW with another default, as many packages have it."""

    def __init__(self, params: Any, lr: float = 0.02) -> None:
        super().__init__(params, lr=lr, weight_decay=0.1)

    def __repr__(self) -> str:
        return "Renamed"


class Delegating(torch.optim.AdamW):
    """A step of its own, that happens to be AdamW's."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class OwnMoments(torch.optim.AdamW):
    """The same `step`, but another state to begin with."""

    def _init_group(self, *arguments: Any) -> Any:
        return super()._init_group(*arguments)


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_subclass_that_steps_as_its_base_gets_its_rule(seen_before):
    class Fresh(Renamed):
        pass

    if seen_before:  # torch wraps `step` of a class when its first optimizer is made
        Fresh([torch.nn.Parameter(torch.zeros(1))])
    case = Case(net(), Fresh)
    expected = Case(net(), lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1)).g(OneStep())
    torch.testing.assert_close(case.g(OneStep()), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("cls", "method"), [(Delegating, "step"), (OwnMoments, "_init_group")])
def test_a_subclass_with_its_own_step_is_refused_with_advice_that_works(cls, method):
    case = Case(net(), cls)
    with pytest.raises(
        UnsupportedError, match=rf"{cls.__name__} .*of AdamW with its own {method}.*register\({cls.__name__}, AdamW\)"
    ):
        case.learner(OneStep())
    optimizers.register(cls, torch.optim.AdamW)
    torch.testing.assert_close(case.g(OneStep()), case.finite_difference(), rtol=1e-6, atol=1e-9)


class AcceleratedOptimizer(torch.optim.Optimizer):
    """What accelerate's class of this name does, in short: it holds another optimizer and hands on to it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def state(self) -> Any:
        return self.optimizer.state

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:
        self.optimizer.step(closure)


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(1)], ids=repr)
def test_wrappers_are_looked_through(estimator):
    lightning = pytest.importorskip("lightning.pytorch.core.optimizer")
    plain = Case(net(), OPTIMIZERS["adamw"]).g(estimator)
    for wrap in (
        AcceleratedOptimizer,
        lightning.LightningOptimizer,
        lambda o: AcceleratedOptimizer(AcceleratedOptimizer(o)),
    ):
        case = Case(net(), OPTIMIZERS["adamw"])
        case.optimizer = wrap(case.optimizer)
        torch.testing.assert_close(case.g(estimator), plain, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": True}, {"foreach": False}])
@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_implementations_of_one_step_have_one_hypergradient(cls, options):
    plain = Case(net(), lambda p: cls(p, lr=0.02)).g(OneStep())
    case = Case(net(), lambda p: cls(p, lr=0.02, **options))
    torch.testing.assert_close(case.g(OneStep()), plain, rtol=1e-10, atol=1e-14)


UNSUPPORTED = [Cubic, torch.optim.Rprop]


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(2)], ids=repr)
@pytest.mark.parametrize("cls", UNSUPPORTED)
def test_other_optimizers_are_refused_by_name(cls, estimator):
    with pytest.raises(
        UnsupportedError,
        match=rf"\b{cls.__name__}\b.*optimizers\.register.*SGD, Adam, AdamW.*hypergradient=Neumann\(\)",
    ):
        Case(net(), lambda p: cls(p, lr=0.01), warm=0).learner(estimator)


def test_rprop_is_refused_for_a_reason():
    with pytest.raises(UnsupportedError, match="Rprop reads only the sign of the gradient"):
        Case(net(), torch.optim.Rprop, warm=0).learner(OneStep())


@pytest.mark.parametrize("cls", UNSUPPORTED)
def test_the_advice_is_true_neumann_and_direct_take_them(cls):
    case = Case(net(), lambda p: cls(p, lr=0.01), warm=1)
    learner = case.learner(Neumann())
    before = case.lambda_.clone()
    learner.step(batch(1), batch(2))
    assert not torch.equal(learner.weights(), before)
    assert case.g(Direct(), val_loss=case.train_loss).isfinite().all()


@pytest.mark.parametrize("estimator", [Direct(), OneStep(), Unrolled(2)], ids=repr)
def test_an_optimizer_that_needs_a_closure_is_refused_with_every_estimator(estimator):
    with pytest.raises(UnsupportedError, match=r"LBFGS.*use SGD, Adam or AdamW"):
        Case(net(), torch.optim.LBFGS, warm=0).learner(estimator)


def test_step_hooks_are_refused():
    case = Case(net())
    case.optimizer.register_step_post_hook(lambda *_: None)
    with pytest.raises(UnsupportedError, match="step hooks"):
        case.learner(OneStep())


def test_importing_the_package_leaves_higher_alone():
    import subprocess
    import sys

    code = "import sys, bilevel_hpo, bilevel_hpo.optimizers; assert 'higher' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unrolling_leaves_highers_registry_alone():
    import higher.optim

    known = dict(higher.optim._opt_mapping)
    Case(net(), OPTIMIZERS["adamw"]).g(Unrolled(2))
    assert higher.optim._opt_mapping == known
