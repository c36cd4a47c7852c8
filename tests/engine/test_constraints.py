import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bilevel_hpo import Box, Budget, Constraint, Positive

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
        torch.testing.assert_close(
            lambda_.sum(-1), torch.full((len(lambda_),), constraint.total).double(), rtol=1e-14, atol=0
        )


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
