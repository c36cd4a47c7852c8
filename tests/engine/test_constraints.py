import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bilevel_hpo import Box, Budget, Constraint, LossWeights, Positive, TransferRatios

quick = settings(max_examples=60, deadline=None)
CONSTRAINTS = [Box(0, 1), Box(-2, 3), Positive(), Budget(), Budget(total=4.0)]


def matrix(low: float, high: float) -> st.SearchStrategy[torch.Tensor]:
    row = st.lists(st.floats(low, high), min_size=3, max_size=3)
    return st.lists(row, min_size=2, max_size=2).map(lambda rows: torch.tensor(rows, dtype=torch.float64))


def assert_allowed(constraint: Constraint, lambda_: torch.Tensor) -> None:
    if isinstance(constraint, Box):
        assert (lambda_ >= constraint.low).all()
        assert (lambda_ <= constraint.high).all()
    else:
        assert (lambda_ >= 0).all()
    if isinstance(constraint, Budget):
        torch.testing.assert_close(lambda_.sum(-1), constraint.total.double().expand(len(lambda_)), rtol=1e-14, atol=0)


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
@given(raw=matrix(-1e6, 1e6))
@quick
def test_lambda_is_allowed_whatever_raw_is(constraint, raw):
    assert_allowed(constraint, constraint.forward(raw))


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
@given(raw=matrix(-20, 20))
@quick
def test_inverse_gives_back_lambda(constraint, raw):
    lambda_ = constraint.forward(raw)
    torch.testing.assert_close(constraint.forward(constraint.inverse(lambda_)), lambda_, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
@given(raw=matrix(-30, 30))
@quick
def test_project_leaves_lambda_as_it_is(constraint, raw):
    before = constraint.forward(raw)
    constraint.project_(raw)
    assert torch.equal(constraint.forward(raw), before)


def test_a_box_clamped_at_its_bound_can_come_back():
    raw = torch.tensor([1.7, -0.4, 0.3], dtype=torch.float64)
    Box(0, 1).project_(raw)
    assert raw.tolist() == [1.0, 0.0, 0.3]
    raw.requires_grad_()
    (slope,) = torch.autograd.grad(Box(0, 1).forward(raw).sum(), raw)
    assert slope.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("value", [1e-12, 1e-3, 1.0, 30.0, 1e4])
def test_positive_inverts_small_and_large(value):
    lambda_ = torch.tensor([value], dtype=torch.float64)
    torch.testing.assert_close(Positive().forward(Positive().inverse(lambda_)), lambda_, rtol=1e-12, atol=0)
    expected = value + math.log1p(-math.exp(-value)) if value >= 1e-3 else math.log(value)
    assert Positive().inverse(lambda_).item() == pytest.approx(expected, rel=1e-9)


def test_budget_is_softmax_times_total():
    lambda_ = Budget(total=6.0).forward(torch.tensor([[0.0, math.log(2.0), math.log(3.0)]], dtype=torch.float64))
    torch.testing.assert_close(lambda_, torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64), rtol=1e-14, atol=0)


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
def test_forward_is_differentiated_right(constraint):
    raw = torch.tensor([[0.3, 0.6, 0.1]], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(constraint.forward, raw)


@pytest.mark.parametrize(
    ("constraint", "lambda_", "message"),
    [
        (Box(0, 1), [0.5, 1.2], r"\[1\.2.*Box\(0, 1\)"),
        (Box(0, 1), [float("nan")], "nan"),
        (Positive(), [0.0, 1.0], r"\[0\.0\].*Positive"),
        (Positive(), [float("inf"), 1.0], r"\[inf\].*Positive"),
        (Budget(), [0.0, 1.0], r"\[0\.0\].*Budget"),
        (Budget(), [0.5, 0.6], "sum to 1.*1.1"),
    ],
)
def test_what_is_not_allowed_is_named(constraint, lambda_, message):
    with pytest.raises(ValueError, match=message):
        constraint.inverse(torch.tensor(lambda_, dtype=torch.float64))


@pytest.mark.parametrize(
    "make",
    [lambda: Box(1, 1), lambda: Box(2, 1), lambda: Budget(total=0), lambda: Budget(direct=1.0), lambda: Budget(-1)],
)
def test_impossible_constraints_are_refused(make):
    with pytest.raises(ValueError, match="needs"):
        make()


ODD = [Box(0.1, 0.7), Budget(0.3), Positive()]
"""Bounds that float32 does not hold exactly."""


@pytest.mark.parametrize("constraint", [*CONSTRAINTS, *ODD], ids=repr)
def test_tensors_as_bounds_give_the_numbers_of_plain_floats(constraint):
    """To the bit, in both precisions, forward, inverse and projection."""
    for dtype in (torch.float32, torch.float64):
        raw = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
        if isinstance(constraint, Box):
            low, high = (float(bound) for bound in (constraint.low, constraint.high))
            expected = raw.clamp(low, high)
        else:
            total = float(constraint.total) if isinstance(constraint, Budget) else 1.0
            softplus = torch.nn.functional.softplus(raw)
            expected = softplus if isinstance(constraint, Positive) else total * raw.softmax(-1)
            if isinstance(constraint, Budget):
                assert torch.equal(constraint.inverse(expected), torch.log(expected / total))
        assert torch.equal(constraint(raw), expected)
        assert expected.dtype == constraint(raw).dtype == dtype
        constraint.project_(raw)
        assert torch.equal(constraint(raw), expected)


@pytest.mark.parametrize(
    ("constraint", "bounds"),
    [
        (Box(0.1, 0.7), {"low": 0.1, "high": 0.7}),
        (Budget(0.3, direct=0.6), {"total": 0.3}),
        (Budget(), {"total": 1.0}),
        (Positive(), {}),
    ],
    ids=repr,
)
def test_bounds_are_state_and_can_be_copied_pickled_and_moved(constraint, bounds):
    assert {name: float(bound) for name, bound in constraint.state_dict().items()} == bounds
    raw = torch.randn(3, 4, dtype=torch.float64)
    for same in (copy.copy(constraint), copy.deepcopy(constraint), pickle.loads(pickle.dumps(constraint))):
        assert repr(same) == repr(constraint)
        assert torch.equal(same(raw), constraint(raw))
    moved = copy.deepcopy(constraint).to(torch.float32)
    assert all(bound.dtype == torch.float32 for bound in moved.buffers())
    assert repr(moved) == repr(constraint)
    assert all(bound.device.type == "meta" for bound in copy.deepcopy(constraint).to("meta").buffers())


def test_whole_bounds_need_no_float64():
    """Some devices have none."""
    assert {bound.dtype for one in (Box(0, 1), Budget(3.0)) for bound in one.buffers()} == {torch.float32}
    assert {bound.dtype for one in (Box(0.1, 0.7), Budget(0.3)) for bound in one.buffers()} == {torch.float64}


@pytest.mark.parametrize(
    ("saved", "built"), [(Box(0, 2), Box(0, 1)), (Budget(2.0), Budget(3.0)), (Box(0.1, 0.7), Box(0.1, 0.7))], ids=repr
)
@pytest.mark.parametrize("make", [LossWeights, TransferRatios])
def test_a_loaded_state_brings_its_bounds(make, saved, built):
    source, target = make(["a", "b", "c"], constraint=saved), make(["a", "b", "c"], constraint=built)
    with torch.no_grad():
        source.raw.mul_(1.9)
    target.load_state_dict(source.state_dict())
    assert torch.equal(source(), target())
    assert repr(target.constraint).split(",")[0] == repr(saved).split(",")[0]
    assert repr(built) != repr(target.constraint) or repr(built) == repr(saved)  # the module has a copy of its own


@pytest.mark.parametrize("constraint", [Box(0, 2), Budget(2.0), Positive()], ids=repr)
def test_a_state_from_before_bounds_were_saved_still_loads(constraint):
    weights = LossWeights(["a", "b"], constraint=constraint)
    old = torch.nn.Module()  # what the module was then
    old.raw = torch.nn.Parameter(weights.raw.detach() * 0.7)
    for state in (old.state_dict(), dict(old.state_dict())):
        fresh = LossWeights(["a", "b"], constraint=constraint)
        fresh.load_state_dict(state)
        assert torch.equal(fresh.raw, old.raw)
        assert repr(fresh.constraint) == repr(constraint)


@pytest.mark.parametrize(
    ("saved", "built", "message"),
    [
        (Positive(), Box(0, 2), r"Missing.*constraint\.low"),
        (Budget(), Positive(), r"Unexpected.*constraint\.total"),
        (Box(0, 2), Budget(), r"Missing.*constraint\.total.*\n.*Unexpected.*constraint\.low"),
    ],
)
def test_the_state_of_another_constraint_is_refused(saved, built, message):
    with pytest.raises(RuntimeError, match=message):
        LossWeights(["a", "b"], constraint=built).load_state_dict(
            LossWeights(["a", "b"], constraint=saved).state_dict()
        )


def test_the_start_of_a_box_is_one_or_the_bound_next_to_it():
    assert LossWeights(["a", "b"], constraint=Box(0, 0.5))().tolist() == [0.5, 0.5]
    assert LossWeights(["a"], constraint=Box(2, 3))().tolist() == [2.0]
    assert TransferRatios(["a", "b"], constraint=Box(-1, 1))().tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_a_constraint_serves_two_modules_without_tying_them():
    shared = Box(0, 1)
    one, other = LossWeights(["a"], constraint=shared), LossWeights(["a"], constraint=shared)
    one.constraint.high.fill_(0.25)
    assert (one().item(), other().item(), float(shared.high)) == (0.25, 1.0, 1.0)
