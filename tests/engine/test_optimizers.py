"""The update rules against `torch.optim` itself, in mid-training."""

import copy
import itertools

import higher.optim
import pytest
import torch
from torch import Tensor

from bilevel_hpo import Direct, OneStep, Unrolled, UnsupportedError
from bilevel_hpo.optimizers import SCALARS, rule_for, supported
from tests.engine.problems import Case, net

RATES = (0.02, torch.tensor(0.02, dtype=torch.float64))
SGD = [
    {"momentum": momentum, "dampening": dampening, "nesterov": nesterov, "weight_decay": decay, "maximize": maximize}
    for momentum, dampening, nesterov, decay, maximize in itertools.product(
        (0.0, 0.9), (0.0, 0.3), (False, True), (0.0, 0.1), (False, True)
    )
    if not (nesterov and (momentum == 0 or dampening))
]
ADAM = [
    {"amsgrad": amsgrad, "weight_decay": decay, "eps": eps, "maximize": maximize, "lr": lr}
    for amsgrad, decay, eps, maximize, lr in itertools.product(
        (False, True), (0.0, 0.1), (1e-8, 1e-3), (False, True), RATES
    )
]
WITH_DECAY = [
    {"weight_decay": decay, "decoupled_weight_decay": decoupled, "eps": eps, "maximize": maximize, "lr": lr}
    for (decay, decoupled), eps, maximize, lr in itertools.product(
        ((0.0, False), (0.1, False), (0.1, True)), (1e-8, 1e-3), (False, True), RATES
    )
]
RMSPROP = [
    {"centered": centered, "momentum": momentum, "weight_decay": decay, "eps": eps, "maximize": maximize, "lr": lr}
    for centered, momentum, decay, eps, maximize, lr in itertools.product(
        (False, True), (0.0, 0.9), (0.0, 0.1), (1e-8, 1e-3), (False, True), RATES
    )
]
ADAGRAD = [
    {"initial_accumulator_value": start, "lr_decay": lr_decay, "weight_decay": decay, "maximize": maximize, "lr": lr}
    for start, lr_decay, decay, maximize, lr in itertools.product(
        (0.0, 0.3), (0.0, 0.2), (0.0, 0.1), (False, True), RATES
    )
]
OPTIONS = [
    *((torch.optim.SGD, {"lr": 0.05, **options}) for options in SGD),
    *((cls, options) for cls in (torch.optim.Adam, torch.optim.AdamW) for options in ADAM),
    *((torch.optim.NAdam, {"momentum_decay": decay, **options}) for decay in (4e-3, 0.1) for options in WITH_DECAY),
    *((torch.optim.RAdam, options) for options in WITH_DECAY),
    *((torch.optim.RMSprop, options) for options in RMSPROP),
    *((torch.optim.Adagrad, options) for options in ADAGRAD),
    (torch.optim.SGD, {"lr": torch.tensor(0.05)}),
    (torch.optim.Adam, {"lr": 0.02, "betas": (0.5, 0.7)}),
    (torch.optim.AdamW, {"lr": 0.02, "foreach": True}),
    (torch.optim.NAdam, {"lr": 0.02, "betas": (0.5, 0.7)}),
    (torch.optim.RAdam, {"lr": 0.02, "betas": (0.5, 0.7)}),
    (torch.optim.RMSprop, {"lr": 0.02, "alpha": 0.5}),
    (torch.optim.Adagrad, {"lr": 0.02, "eps": 1e-3}),
]


def name(value):
    if not isinstance(value, dict):
        return value.__name__
    return ",".join(f"{k}={v.item():g}*" if isinstance(v, Tensor) else f"{k}={v}" for k, v in value.items() if v)


def start(cls, options, warm):
    """θ of two shapes, one of them in its own group with half the learning rate, after `warm` steps."""
    generator = torch.Generator().manual_seed(3)
    theta = [torch.nn.Parameter(torch.randn(*s, generator=generator, dtype=torch.float64)) for s in ((4, 3), (5,))]
    groups = [{"params": theta[:1]}, {"params": theta[1:], "lr": options["lr"] / 2}]
    optimizer = cls(groups, **options)
    for _ in range(warm):
        advance(optimizer, theta, gradients(generator, theta))
    return theta, optimizer, gradients(generator, theta)


def gradients(generator, theta):
    return [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in theta]


def advance(optimizer, theta, g):
    for p, gi in zip(theta, g, strict=True):
        p.grad = None if gi is None else gi.clone()
    optimizer.step()


@pytest.mark.parametrize("warm", [0, 1, 5])
@pytest.mark.parametrize(("cls", "options"), OPTIONS, ids=name)
def test_a_rule_is_the_real_step_and_state(cls, options, warm):
    theta, optimizer, g = start(cls, options, warm)
    inputs = [(p.detach(), gi, dict(optimizer.state.get(p, {}))) for p, gi in zip(theta, g, strict=True)]
    untouched = copy.deepcopy(inputs)
    ours = [rule_for(optimizer)(*x, group) for x, group in zip(inputs, optimizer.param_groups, strict=True)]
    torch.testing.assert_close(inputs, untouched, rtol=0, atol=0)
    before = [p for p, _, _ in untouched]
    advance(optimizer, theta, g)
    for (moved, state), p, p0 in zip(ours, theta, before, strict=True):
        assert not torch.equal(p, p0)
        torch.testing.assert_close(moved, p.detach(), rtol=1e-15, atol=1e-16)
        for key, value in optimizer.state[p].items():
            if value is not None:
                torch.testing.assert_close(torch.as_tensor(state[key]).double(), value.double(), rtol=1e-15, atol=0)
                assert value.shape == (() if key in SCALARS else p.shape)


def test_adagrad_starts_from_an_empty_state_as_a_group_added_later_does():
    theta, optimizer, g = start(torch.optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.3}, 0)
    optimizer.state.clear()
    ours, state = rule_for(optimizer)(theta[0].detach().clone(), g[0], {}, optimizer.param_groups[0])
    advance(optimizer, theta, g)
    torch.testing.assert_close(ours, theta[0].detach(), rtol=1e-15, atol=1e-16)
    torch.testing.assert_close(state["sum"], optimizer.state[theta[0]]["sum"], rtol=1e-15, atol=0)


@pytest.mark.parametrize("warm", [0, 5])
@pytest.mark.parametrize(("cls", "options"), OPTIONS[::3], ids=name)
def test_a_gradient_that_is_and_was_zero_has_a_finite_slope(cls, options, warm):
    theta, optimizer, g = start(cls, options, 0)
    zero = [torch.zeros_like(gi) for gi in g]
    for _ in range(warm):
        advance(optimizer, theta, zero)
    zero[0].requires_grad_()
    state = dict(optimizer.state.get(theta[0], {}))
    moved, _ = rule_for(optimizer)(theta[0].detach(), zero[0], state, optimizer.param_groups[0])
    (slope,) = torch.autograd.grad(moved.sum(), zero[0])
    assert slope.isfinite().all()
    assert (slope != 0).all()


@pytest.mark.parametrize("warm", [0, 5])
@pytest.mark.parametrize(("cls", "options"), OPTIONS[::3], ids=name)
def test_a_rule_differentiates_as_finite_differences_do(cls, options, warm):
    theta, optimizer, g = start(cls, options, warm)
    rule, group = rule_for(optimizer), optimizer.param_groups[0]
    state = dict(optimizer.state.get(theta[0], {}))
    # Adam's first step is nearly the sign of g: a flat function with a bend at 0
    g0 = g[0].sign() * (0.3 + g[0].abs())
    torch.autograd.gradcheck(
        lambda p, gi: rule(p, gi, dict(state), group)[0],
        (theta[0].detach().clone().requires_grad_(), g0.requires_grad_()),
        eps=1e-5,
        atol=1e-8,
        rtol=1e-5,
    )


@pytest.mark.parametrize(("cls", "options"), OPTIONS[::3], ids=name)
def test_higher_takes_our_rule_for_several_steps(cls, options):
    theta, optimizer, _ = start(cls, options, 3)
    ahead = higher.optim.get_diff_optim(optimizer, theta)
    assert type(ahead).__name__ == f"Differentiable_{rule_for(optimizer).__name__}"
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    moved = list(theta)
    for _ in range(3):
        moved = ahead.step(sum((scale * p).pow(4).sum() for p in moved), params=moved)
    (slope,) = torch.autograd.grad(sum(p.square().sum() for p in moved), scale)

    def real(scale: float) -> tuple[float, list[Tensor]]:
        theta, optimizer, _ = start(cls, options, 3)
        for _ in range(3):
            optimizer.zero_grad()
            sum((scale * p).pow(4).sum() for p in theta).backward()
            optimizer.step()
        return sum(p.square().sum().item() for p in theta), theta

    for ours, reality in zip(moved, real(1.3)[1], strict=True):
        torch.testing.assert_close(ours, reality.detach(), rtol=1e-13, atol=1e-15)
    h = 1e-5
    expected = (real(1.3 + h)[0] - real(1.3 - h)[0]) / (2 * h)
    assert slope.item() == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("cls", [getattr(torch.optim, name) for name in supported()])
def test_a_parameter_without_gradient_stays(cls):
    theta, optimizer, g = start(cls, {"lr": 0.1, "weight_decay": 0.1}, 2)
    ahead = higher.optim.get_diff_optim(optimizer, theta)
    moved = ahead.step((theta[0] * g[0]).sum(), params=list(theta))
    before = theta[1].detach().clone()
    advance(optimizer, theta, [g[0], None])
    assert torch.equal(moved[1], before)
    assert torch.equal(theta[1], before)
    torch.testing.assert_close(moved[0], theta[0], rtol=1e-15, atol=1e-16)


class OwnAdam(torch.optim.Adam):
    pass


UNSUPPORTED = [torch.optim.Adadelta, OwnAdam, torch.optim.Rprop]


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(2)], ids=repr)
@pytest.mark.parametrize("cls", UNSUPPORTED)
def test_other_optimizers_are_refused_by_name(cls, estimator):
    with pytest.raises(UnsupportedError, match=rf"\b{cls.__name__}\b.*SGD, Adam, AdamW.*Direct\(\)"):
        Case(net(), cls, warm=0).learner(estimator)


@pytest.mark.parametrize("estimator", [Direct(), OneStep(), Unrolled(2)], ids=repr)
def test_an_optimizer_that_needs_a_closure_is_refused_with_every_estimator(estimator):
    with pytest.raises(UnsupportedError, match=r"LBFGS.*use SGD, Adam or AdamW"):
        Case(net(), torch.optim.LBFGS, warm=0).learner(estimator)


@pytest.mark.parametrize("cls", UNSUPPORTED)
def test_direct_takes_them(cls):
    case = Case(net(), cls, warm=1)
    assert case.g(Direct(), val_loss=case.train_loss).isfinite().all()


def test_step_hooks_are_refused():
    case = Case(net())
    case.optimizer.register_step_post_hook(lambda *_: None)
    with pytest.raises(UnsupportedError, match="step hooks"):
        case.learner()


def test_supported_names():
    assert supported() == ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad"]
