"""The update rules against `torch.optim` itself, in mid-training."""

import copy
import itertools

import pytest
import torch
from torch import Tensor

from bilevel_hpo.hypergradients._higher import RuleOptimizer
from bilevel_hpo.optimizers import rule_for, supported

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
COUPLED = [
    {"weight_decay": decay, "maximize": maximize, "lr": lr}
    for decay, maximize, lr in itertools.product((0.0, 0.1), (False, True), RATES)
]
MUON = [
    {"nesterov": nesterov, "weight_decay": decay, "adjust_lr_fn": adjust, "lr": lr}
    for nesterov, decay, adjust, lr in itertools.product(
        (False, True), (0.0, 0.1), (None, "original", "match_rms_adamw"), RATES
    )
]
ADAFACTOR = [
    {"weight_decay": decay, "maximize": maximize, "d": d, "eps": (eps1, 1e-3), "lr": lr}
    for decay, maximize, d, eps1, lr in itertools.product(
        (0.0, 0.1), (False, True), (1.0, 1.5), (None, 1e-3), (0.02, 0.9)
    )
]
OPTIONS = [
    *((torch.optim.SGD, {"lr": 0.05, **options}) for options in SGD),
    *((cls, options) for cls in (torch.optim.Adam, torch.optim.AdamW) for options in ADAM),
    *((torch.optim.NAdam, {"momentum_decay": decay, **options}) for decay in (4e-3, 0.1) for options in WITH_DECAY),
    *((torch.optim.RAdam, options) for options in WITH_DECAY),
    *((torch.optim.RMSprop, options) for options in RMSPROP),
    *((torch.optim.Adagrad, options) for options in ADAGRAD),
    *((torch.optim.Adamax, {"betas": (0.5, 0.7), **options}) for options in COUPLED),
    *((torch.optim.Adadelta, {"eps": 1e-3, **options}) for options in COUPLED),
    *((torch.optim.ASGD, {"lambd": 0.1, "t0": 2, **options}) for options in COUPLED),
    *((torch.optim.Muon, options) for options in MUON),
    *((torch.optim.Adafactor, options) for options in ADAFACTOR),
    (torch.optim.SGD, {"lr": torch.tensor(0.05)}),
    (torch.optim.Adam, {"lr": 0.02, "betas": (0.5, 0.7)}),
    (torch.optim.AdamW, {"lr": 0.02, "foreach": True}),
    (torch.optim.NAdam, {"lr": 0.02, "betas": (0.5, 0.7)}),
    (torch.optim.RAdam, {"lr": 0.02, "betas": (0.5, 0.7)}),
    (torch.optim.RMSprop, {"lr": 0.02, "alpha": 0.5}),
    (torch.optim.Adagrad, {"lr": 0.02, "eps": 1e-3}),
    (torch.optim.Adamax, {"lr": 0.02}),
    (torch.optim.Adadelta, {"lr": 0.02, "rho": 0.5}),
    (torch.optim.ASGD, {"lr": 0.02}),
    (torch.optim.Muon, {"lr": 0.02, "momentum": 0.5, "ns_steps": 2}),
    (torch.optim.Adafactor, {"lr": 0.02, "beta2_decay": -0.5}),
]
SMOOTH = [(cls, options) for cls, options in OPTIONS[::3] if cls is not torch.optim.Muon]
"""Muon's step is rounded to bfloat16; its derivative is held against the iteration without rounding, below."""
ELEMENTWISE = [(cls, options) for cls, options in OPTIONS if cls not in (torch.optim.Muon, torch.optim.Adafactor)]


def name(value):
    if not isinstance(value, dict):
        return value.__name__
    return ",".join(f"{k}={v.item():g}*" if isinstance(v, Tensor) else f"{k}={v}" for k, v in value.items() if v)


def start(cls, options, warm):
    """θ of two shapes, one of them in its own group with half the learning rate, after `warm` steps."""
    generator = torch.Generator().manual_seed(3)
    shapes = ((4, 3), (3, 5)) if cls is torch.optim.Muon else ((4, 3), (5,))
    theta = [torch.nn.Parameter(torch.randn(*s, generator=generator, dtype=torch.float64)) for s in shapes]
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
    rule = rule_for(optimizer)
    ours = [rule.update(*x, group) for x, group in zip(inputs, optimizer.param_groups, strict=True)]
    torch.testing.assert_close(inputs, untouched, rtol=0, atol=0)
    before = [p for p, _, _ in untouched]
    advance(optimizer, theta, g)
    for (moved, state), p, p0 in zip(ours, theta, before, strict=True):
        assert not torch.equal(p, p0)
        torch.testing.assert_close(moved, p.detach(), rtol=1e-15, atol=1e-16)
        for key, value in optimizer.state[p].items():
            if value is not None:
                torch.testing.assert_close(torch.as_tensor(state[key]).double(), value.double(), rtol=1e-15, atol=0)
                assert not rule.elementwise or value.shape == (() if key in rule.scalars else p.shape)


def test_adagrad_starts_from_an_empty_state_as_a_group_added_later_does():
    theta, optimizer, g = start(torch.optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.3}, 0)
    optimizer.state.clear()
    ours, state = rule_for(optimizer).update(theta[0].detach().clone(), g[0], {}, optimizer.param_groups[0])
    advance(optimizer, theta, g)
    torch.testing.assert_close(ours, theta[0].detach(), rtol=1e-15, atol=1e-16)
    torch.testing.assert_close(state["sum"], optimizer.state[theta[0]]["sum"], rtol=1e-15, atol=0)


@pytest.mark.parametrize("warm", [0, 5])
@pytest.mark.parametrize(("cls", "options"), ELEMENTWISE[::3], ids=name)
def test_a_gradient_that_is_and_was_zero_has_a_finite_slope(cls, options, warm):
    theta, optimizer, g = start(cls, options, 0)
    zero = [torch.zeros_like(gi) for gi in g]
    for _ in range(warm):
        advance(optimizer, theta, zero)
    zero[0].requires_grad_()
    state = {key: value for key, value in optimizer.state.get(theta[0], {}).items() if value is not None}
    rule, group = rule_for(optimizer), optimizer.param_groups[0]
    moved, _ = rule.update(theta[0].detach(), zero[0], state, group)
    (slope,) = torch.autograd.grad(moved.sum(), zero[0])
    assert slope.isfinite().all()
    assert (slope != 0).all()
    if rule.slope is not None:
        torch.testing.assert_close(rule.slope(theta[0].detach(), zero[0].detach(), state, group)[1], slope)


@pytest.mark.parametrize("warm", [0, 1, 5])
@pytest.mark.parametrize(("cls", "options"), ELEMENTWISE, ids=name)
def test_a_slope_in_closed_form_is_that_of_automatic_differentiation(cls, options, warm):
    theta, optimizer, g = start(cls, options, warm)
    rule, group, p, g0 = rule_for(optimizer), optimizer.param_groups[0], theta[0].detach(), g[0]
    state = {key: value for key, value in optimizer.state.get(theta[0], {}).items() if value is not None}
    untouched = copy.deepcopy((p, g0, state))
    moved, _ = rule.update(p, g0.requires_grad_(), state, group)
    (expected,) = torch.autograd.grad(moved.sum(), g0)
    g0.requires_grad_(False)
    if rule.linear:
        torch.testing.assert_close(expected, expected.flatten()[0].expand_as(expected))
        return
    there, slope = rule.slope(p, g0, state, group)
    torch.testing.assert_close((p, g0, state), untouched, rtol=0, atol=0)
    torch.testing.assert_close(there, moved.detach(), rtol=1e-15, atol=1e-16)
    torch.testing.assert_close(slope, expected, rtol=1e-7, atol=1e-13)  # the expected one suffers from cancellation


@pytest.mark.parametrize("warm", [0, 1])
@pytest.mark.parametrize("cls", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad])
def test_float32_keeps_the_slope_of_the_first_steps(cls, warm):
    theta, optimizer, g = start(cls, {"lr": 0.02}, 0)
    theta = [torch.nn.Parameter(p.detach().float()) for p in theta]
    optimizer = cls(theta, lr=0.02)
    for _ in range(warm):
        advance(optimizer, theta, [gi.float() for gi in g])
    rule, group, p = rule_for(optimizer), optimizer.param_groups[0], theta[0].detach()
    state = {key: value for key, value in optimizer.state.get(p, {}).items() if value is not None}
    doubled = {key: value.double() if value.ndim else value for key, value in state.items()}
    g0 = g[0].float()
    _, exact = rule.slope(p.double(), g0.double(), doubled, group)
    torch.testing.assert_close(rule.slope(p, g0, state, group)[1].double(), exact, rtol=3e-6, atol=0)


@pytest.mark.parametrize("warm", [0, 5])
@pytest.mark.parametrize(("cls", "options"), SMOOTH, ids=name)
def test_a_rule_differentiates_as_finite_differences_do(cls, options, warm):
    theta, optimizer, g = start(cls, options, warm)
    rule, group = rule_for(optimizer), optimizer.param_groups[0]
    state = dict(optimizer.state.get(theta[0], {}))
    # Adam's first step is nearly the sign of g: a flat function with a bend at 0
    g0 = g[0].sign() * (0.3 + g[0].abs())
    torch.autograd.gradcheck(
        lambda p, gi: rule.update(p, gi, dict(state), group)[0],
        (theta[0].detach().clone().requires_grad_(), g0.requires_grad_()),
        eps=1e-5,
        atol=1e-8,
        rtol=1e-5,
    )


@pytest.mark.parametrize(("cls", "options"), SMOOTH, ids=name)
def test_higher_takes_our_rule_for_several_steps(cls, options):
    theta, optimizer, _ = start(cls, options, 3)
    ahead = RuleOptimizer(optimizer, theta)
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


@pytest.mark.parametrize("cls", sorted({cls for cls, _ in OPTIONS}, key=repr))
def test_a_parameter_without_gradient_stays(cls):
    theta, optimizer, g = start(cls, {"lr": 0.1, "weight_decay": 0.1}, 2)
    ahead = RuleOptimizer(optimizer, theta)
    moved = ahead.step((theta[0] * g[0]).sum(), params=list(theta))
    before = theta[1].detach().clone()
    advance(optimizer, theta, [g[0], None])
    assert torch.equal(moved[1], before)
    assert torch.equal(theta[1], before)
    torch.testing.assert_close(moved[0], theta[0], rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("setting", ["lr", "weight_decay"])
@pytest.mark.parametrize("cls", sorted({cls for cls, _ in OPTIONS}, key=repr))
def test_learning_rate_and_weight_decay_are_differentiated(cls, setting, warm):
    options = {"lr": 0.02, "weight_decay": 0.1}
    theta, optimizer, g = start(cls, options, warm)
    v = gradients(torch.Generator().manual_seed(8), theta)[0]
    wanted = torch.tensor(options[setting], dtype=torch.float64, requires_grad=True)
    state = {key: value for key, value in optimizer.state.get(theta[0], {}).items() if value is not None}
    moved, _ = rule_for(optimizer).update(
        theta[0].detach(), g[0], state, {**optimizer.param_groups[0], setting: wanted}
    )
    if cls is torch.optim.ASGD and setting == "lr" and warm:
        assert not moved.requires_grad  # its rate in the state was made in the step before
        return
    (slope,) = torch.autograd.grad((v * moved).sum(), wanted)

    def real(value: float) -> float:
        theta, optimizer, g = start(cls, options, warm)
        optimizer.param_groups[0][setting] = value
        advance(optimizer, theta, g)
        return (v * theta[0]).sum().item()

    h = 1e-3 if cls is torch.optim.ASGD else 1e-5  # ASGD rounds its rate to float32
    expected = (real(options[setting] + h) - real(options[setting] - h)) / (2 * h)
    assert slope.item() == pytest.approx(expected, rel=1e-3 if cls is torch.optim.ASGD else 1e-5, abs=1e-10)


@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("options", MUON[:: len(RATES)], ids=name)
def test_muon_differentiates_as_its_iteration_without_rounding_does(options, warm):
    theta, optimizer, g = start(torch.optim.Muon, options, warm)
    group, p = optimizer.param_groups[0], theta[0].detach()
    buffer = optimizer.state[theta[0]].get("momentum_buffer", torch.zeros_like(p))

    def reference(gi: Tensor) -> Tensor:
        mean = 0.95 * buffer + 0.05 * gi
        x = 0.05 * gi + 0.95 * mean if options["nesterov"] else mean
        x = x / x.norm()
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        scale = 0.2 * 2.0 if options["adjust_lr_fn"] == "match_rms_adamw" else (4 / 3) ** 0.5
        return p * (1 - 0.02 * options["weight_decay"]) - 0.02 * scale * x

    v = gradients(torch.Generator().manual_seed(8), theta)[0]
    g0 = g[0].requires_grad_()
    moved, _ = rule_for(optimizer).update(p, g0, dict(optimizer.state.get(theta[0], {})), group)
    (u,) = torch.autograd.grad(moved, g0, v)
    with torch.no_grad():
        h = 1e-5
        expected = torch.zeros_like(u)
        for i, j in itertools.product(range(4), range(3)):
            e = torch.zeros_like(g0)
            e[i, j] = h
            expected[i, j] = (v * (reference(g0 + e) - reference(g0 - e))).sum() / (2 * h)
    torch.testing.assert_close(u, expected, rtol=1e-6, atol=1e-9)


def test_supported_names():
    assert supported()[:12] == [  # others may have been registered since
        *("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad"),
        *("Adamax", "Adadelta", "ASGD", "Muon", "Adafactor"),
    ]
