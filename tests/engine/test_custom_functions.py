"""Losses with a `torch.autograd.Function`, whose second derivatives torch may not know, against real training steps."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from bilevel_hpo import (
    BilevelLearner,
    Budget,
    Direct,
    LossWeights,
    Neumann,
    Nystrom,
    OneStep,
    UncertifiedWarning,
    Unrolled,
    UnsupportedError,
)
from tests.engine.problems import LAMBDA, OPTIMIZERS, Case, batch, net, task_losses
from tests.engine.test_hypergradients import close


class Once(torch.autograd.Function):
    """x³/3 by numpy; the backward says that it can be differentiated once only."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(np.asarray(x.detach().numpy() ** 3 / 3))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return grad * torch.from_numpy(ctx.saved_tensors[0].numpy() ** 2)


class Numpy(Once):
    """The same, but it does not say so."""

    @staticmethod
    def backward(ctx, grad):
        return torch.from_numpy(grad.detach().numpy() * ctx.saved_tensors[0].detach().numpy() ** 2)


class NumpyForward(Numpy):
    """With a forward mode that has no derivative in λ."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_forward(x)
        return Numpy.forward(ctx, x)

    @staticmethod
    def jvp(ctx, tangent):
        return torch.from_numpy(tangent.detach().numpy() * ctx.saved_tensors[0].detach().numpy() ** 2)


class Complete(Once):
    """The same, of torch operations."""

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0].square()


class StraightThrough(torch.autograd.Function):
    """Rounding; its gradient is that of the identity, and no derivative of it."""

    @staticmethod
    def forward(ctx, x):
        return (x * 4).round() / 4

    @staticmethod
    def backward(ctx, grad):
        return grad.clone()


class Reversal(torch.autograd.Function):
    """Ganin et al. (2016): the identity, with the gradient reversed."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


class NumpyReversal(Reversal):
    """Neither reverse mode nor a difference of L_train knows the derivative of its gradient in λ."""

    @staticmethod
    def backward(ctx, grad):
        return torch.from_numpy(-grad.detach().numpy())


CUSTOM = [Once, Numpy, NumpyForward, Complete, StraightThrough, Reversal]


def outside(function):
    """λ weighs what is computed by the function."""

    def loss(model, weights, data):
        x, y = data
        return weights @ (function.apply(model(x)) - y).square().mean(0)

    return loss


def inside(function):
    """λ scales what goes into the function."""

    def loss(model, weights, data):
        x, y = data
        return (function.apply(model(x) * weights) - y).square().mean(0).sum()

    return loss


def within_the_function(function):
    """The whole loss is computed by the function."""

    def loss(model, weights, data):
        return function.apply(weights * (0.2 + 0.1 * task_losses(model, data))).sum()

    return loss


PLACES = [outside, inside, within_the_function]


def case(place, function, optimizer="sgd-momentum"):
    return Case(net(), OPTIMIZERS[optimizer], train_loss=place(function))


@pytest.mark.parametrize("optimizer", ["sgd-momentum", "adam"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("function", CUSTOM)
def test_the_default_gives_the_slope_of_real_steps(function, place, optimizer):
    if function is StraightThrough and place is not outside:
        pytest.skip("the real step jumps in λ")
    subject = case(place, function, optimizer)
    learner = subject.learner()
    torch.manual_seed(9)
    close(learner.hypergradient(batch(1), batch(2)), subject.finite_difference(), 1e-5)
    assert learner.certificate.certified


def test_what_nothing_can_differentiate_is_said_to_be_uncertified():
    learner = case(outside, NumpyReversal).learner()
    with pytest.warns(UncertifiedWarning, match="missing or wrong: NumpyReversal"):
        learner.hypergradient(batch(1), batch(2))
    assert learner.certificate.error > 0.05


class Single(Once):
    """A kernel for float32."""

    @staticmethod
    def forward(ctx, x):
        if x.dtype != torch.float32:
            raise TypeError("this kernel is for float32")
        return Once.forward(ctx, x)


def in_float32(subject, **options):
    subject = copy.deepcopy(subject)
    subject.model.float()
    subject.lambda_ = subject.lambda_.float()
    subject.optimizer = subject.make(subject.model.parameters())
    return subject.learner(**options)


def single(data):
    return tuple(part.float() for part in data)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("function", CUSTOM)
def test_in_float32(function, place):
    subject = case(place, function)
    subject.optimizer = subject.make(subject.model.parameters())
    exact = subject.g(OneStep())
    learner = in_float32(subject)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        g = learner.hypergradient(single(batch(1)), single(batch(2)))
    close(g.double(), exact, 1e-4)
    by_torch = function is NumpyForward and place is outside  # forward mode, and λ does not meet the function
    assert learner.certificate.computed_in == ("float32" if by_torch else "float64")


@pytest.mark.parametrize("place", PLACES)
def test_a_kernel_for_float32_only_is_said_to_be_uncertified(place):
    learner = in_float32(Case(net(), OPTIMIZERS["sgd"], train_loss=place(Single), warm=0))
    with pytest.warns(UncertifiedWarning, match="this kernel is for float32"):
        g = learner.hypergradient(single(batch(1)), single(batch(2)))
    assert g.any()


@pytest.mark.parametrize(
    "estimator", [OneStep(tolerance=None), Unrolled(1), Unrolled(2), Neumann(2), Nystrom(2)], ids=repr
)
@pytest.mark.parametrize("place", PLACES)
def test_estimators_without_another_way_refuse_it_by_its_name(estimator, place):
    with pytest.raises(UnsupportedError, match=r"Once, whose backward is marked once_differentiable.*OneStep\(\)"):
        case(place, Once).g(estimator)
    case(place, Complete).g(estimator)


def test_truncated_steps_need_no_second_derivatives():
    def loss(model, weights, data):
        return outside(Once if not weights.requires_grad else Complete)(model, weights, data)

    subject = Case(net(), OPTIMIZERS["sgd"], train_loss=loss)
    expected = Case(net(), OPTIMIZERS["sgd"], train_loss=outside(Complete)).g(Unrolled(2, truncate=1))
    close(subject.g(Unrolled(2, truncate=1)), expected, 1e-12)


def test_direct_takes_first_derivatives_only():
    def named(model, weights, data):
        return outside(Once)(model, weights, data)

    subject = Case(net(), train_loss=named, val_loss=named)
    x, y = batch(2)
    with torch.no_grad():
        expected = (Once.apply(subject.model(x)) - y).square().mean(0)
    close(subject.g(Direct()), expected, 1e-12)


def test_the_judge_is_not_asked_where_lambda_meets_no_custom_function():
    """Forward mode through a function of θ alone is torch's own in λ."""

    class Cube(Complete):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_forward(x)
            return Complete.forward(ctx, x)

        @staticmethod
        def jvp(ctx, tangent):
            return tangent * ctx.saved_tensors[0].square()

    learner = in_float32(Case(net(), OPTIMIZERS["sgd"], train_loss=outside(Cube), warm=0))
    learner.hypergradient(single(batch(1)), single(batch(2)))
    assert (learner.certificate.computed_in, learner.certificate.certified) == ("float32", True)


MATRIX = torch.eye(7, dtype=torch.float64).roll(1, 0) + 0.5 * torch.eye(7, dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_product_with_a_sparse_matrix_whose_forward_mode_fails_in_its_own_words():
    def loss(model, weights, data):
        x, y = data
        return weights @ (MATRIX.to_sparse_csr() @ model(x) - y).square().mean(0)

    subject = Case(net(), OPTIMIZERS["sgd"], train_loss=loss)
    learner = subject.learner()
    torch.manual_seed(9)
    close(learner.hypergradient(batch(1), batch(2)), subject.finite_difference(), 1e-5)
    assert learner.certificate.certified


def test_an_error_of_the_loss_is_raised_as_the_loss_raises_it():
    """Evaluated for the gradient it goes well; then it fails, first so and then otherwise."""
    calls = []

    def loss(model, weights, data):
        calls.append(1)
        if len(calls) > 1:
            raise LookupError(f"call {len(calls)}")
        return outside(Complete)(model, weights, data)

    subject = Case(net(), warm=0)
    with pytest.raises(LookupError, match="call 2"):
        subject.g(OneStep(), train_loss=loss)


def test_what_a_loss_is_refused_for_is_not_tried_again_by_another_mode():
    """In `learner.step` forward mode is the first to see it, and it is said once only."""
    weights, model = LossWeights(["a", "b", "c"], constraint=Budget()).double(), net()

    def loss(model, argument, data):
        return outside(Complete)(model, weights() + argument, data)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    learner = BilevelLearner(model, optimizer, weights, train_loss=loss, val_loss=total)
    with pytest.raises(UnsupportedError, match="train_loss calls the `weights` module itself"):
        learner.step(batch(1), batch(2))


def net_in_float32():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def branching(model, weights, data):
    """Another loss in float64."""
    x, y = data
    p = 1 if x.dtype == torch.float32 and model(x).dtype == torch.float32 else 1.5
    return weights @ ((model(x) - y).square() + 0.1).pow(p).mean(0)


class Counting:
    """A weight that grows with every call."""

    def __init__(self):
        self.calls = 0

    def __call__(self, model, weights, data):
        self.calls += 1
        return self.calls * (weights @ task_losses(model, data))


def total(model, weights, data):
    return task_losses(model, data).sum()


def total_of_dtype(model, weights, data):
    losses = task_losses(model, data)
    return losses.sum() if losses.dtype == torch.float32 else losses.square().sum()


@pytest.mark.parametrize(
    ("train_loss", "val_loss", "named"),
    [
        (branching, total, "train_loss"),
        (Counting(), total, "train_loss"),
        (outside(Complete), total_of_dtype, "val_loss"),
    ],
    ids=["dtype", "counting", "val_loss"],
)
def test_a_loss_that_is_another_one_in_float64_is_said_to_be_uncertified(train_loss, val_loss, named):
    subject = Case(net_in_float32(), OPTIMIZERS["adam"], warm=0, lambda_=LAMBDA.float(), train_loss=train_loss)
    learner = subject.learner(val_loss=val_loss)
    with pytest.warns(UncertifiedWarning, match=rf"{named} has another value .* in float64: .* instead of .* dtype"):
        learner.hypergradient(single(batch(1)), single(batch(2)))
