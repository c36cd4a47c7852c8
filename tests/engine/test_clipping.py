"""Clipping is part of the step that is taken, and of the step that is differentiated."""

import copy

import pytest
import torch
from torch.overrides import TorchFunctionMode

from bilevel_hpo import ClipNorm, ClipValue, FiniteDifference, MicroBatches, OneStep, StepBatches, Unrolled
from tests.engine.problems import OPTIMIZERS, Case, batch, copied, net, plain, weighted
from tests.engine.test_hypergradients import close

CLIPPINGS = [ClipNorm(0.1), ClipValue(0.05), ClipNorm(100.0)]  # the last one clips nothing


def clip_(clipping, model):
    """As a user would, by torch."""
    if isinstance(clipping, ClipNorm):
        return torch.nn.utils.clip_grad_norm_(model.parameters(), clipping.max_norm)
    return torch.nn.utils.clip_grad_value_(model.parameters(), clipping.value)


def real_training(case, clipping, lambda_, batches):
    """(L_val after the steps, the model)."""
    model = copied(case.model)
    optimizer = case.make(model.parameters())
    optimizer.load_state_dict(copy.deepcopy(case.optimizer.state_dict()))
    for data in batches:
        optimizer.zero_grad()
        weighted(model, lambda_, data).backward()
        clip_(clipping, model)
        optimizer.step()
    return plain(model.eval(), lambda_, batch(2)).detach(), model


def central_difference(case, clipping, batches, h=1e-5):
    basis = torch.eye(3, dtype=torch.float64)
    ends = [[real_training(case, clipping, case.lambda_ + s * h * e, batches)[0] for s in (1, -1)] for e in basis]
    return torch.stack([(up - down) / (2 * h) for up, down in ends])


@pytest.mark.parametrize("clipping", CLIPPINGS, ids=repr)
@pytest.mark.parametrize("optimizer", ["sgd-momentum", "adam", "rmsprop"])
@pytest.mark.parametrize("estimator", [OneStep(), FiniteDifference(), Unrolled(1)], ids=repr)
def test_the_clipped_step_is_differentiated(estimator, optimizer, clipping):
    case = Case(net(), OPTIMIZERS[optimizer])
    expected = central_difference(case, clipping, [batch(1)])
    close(case.g(estimator, inner_clip=clipping), expected, 1e-6)
    unclipped = case.g(estimator)
    assert (clipping.__dict__.get("max_norm") == 100.0) == torch.allclose(unclipped, expected, rtol=1e-2)


def test_unrolled_clips_every_step():
    case = Case(net(), OPTIMIZERS["adam"])
    batches = [batch(1), batch(3)]
    expected = central_difference(case, CLIPPINGS[0], batches)
    close(case.g(Unrolled(2), StepBatches(batches), inner_clip=CLIPPINGS[0]), expected, 1e-6)


@pytest.mark.parametrize("clipping", CLIPPINGS, ids=repr)
@pytest.mark.parametrize("call", ["inner_step", "step", "fit"])
def test_the_step_taken_is_that_of_torch(call, clipping):
    case = Case(net(), OPTIMIZERS["adam"])
    _, expected = real_training(case, clipping, case.lambda_, [batch(1)])
    learner = case.learner(OneStep(), inner_clip=clipping)
    if call == "fit":
        learner.fit([batch(1)], [batch(2)], epochs=1, outer_every=1)
    else:
        getattr(learner, call)(*([batch(1)] if call == "inner_step" else [batch(1), batch(2)]))
    for ours, theirs in zip(learner.model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_the_norm_is_that_of_accumulated_gradients():
    (x, y), clipping = batch(1, n=8), ClipNorm(0.1)
    halves = MicroBatches([(x[:4], y[:4]), (x[4:], y[4:])])
    case = Case(net(), OPTIMIZERS["adam"])
    close(case.g(OneStep(), halves, inner_clip=clipping), case.g(OneStep(), (x, y), inner_clip=clipping), 1e-10)


class Norms(TorchFunctionMode):
    """Counts the tensors whose norm is taken one by one."""

    taken = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.taken += func is torch.linalg.vector_norm
        return func(*args, **(kwargs or {}))


def test_the_norm_is_taken_once_for_the_step_and_its_derivative():
    case = Case(net(), OPTIMIZERS["adam"])
    with Norms() as norms:
        case.g(OneStep(), inner_clip=ClipNorm(0.1))
    assert norms.taken == len(list(case.model.parameters()))


@pytest.mark.parametrize(("make", "message"), [(ClipNorm, "max_norm > 0; got 0"), (ClipValue, "value > 0; got 0")])
def test_a_bound_must_be_positive(make, message):
    with pytest.raises(ValueError, match=message):
        make(0)
