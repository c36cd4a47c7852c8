"""Search spaces from the λ object: which entries an axis sets, scales, ties, and the way back."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch

from bilevel_hpo import Box, Budget, LossWeights, Positive, TransferRatios, search

TASKS = ["A", "B", "C"]


def test_one_axis_for_every_ratio_and_the_way_back():
    ratios = TransferRatios(TASKS, init=0.25)
    space = search.space(ratios)
    assert list(space.axes) == ["B->A", "C->A", "A->B", "C->B", "A->C", "B->C"]
    params = {name: 0.1 * number for number, name in enumerate(space.axes)}
    expected = torch.tensor([[1.0, 0.0, 0.1], [0.2, 1.0, 0.3], [0.4, 0.5, 1.0]])
    torch.testing.assert_close(space.tensor(params), expected)
    torch.testing.assert_close(ratios(), torch.full((3, 3), 0.25).fill_diagonal_(1.0))
    space.set_(params)
    torch.testing.assert_close(ratios(), expected)
    assert space.params() == pytest.approx(params)


def test_symmetric_ratios_share_an_axis():
    for ratios, options in ((TransferRatios(TASKS, symmetric=True), {}), (TransferRatios(TASKS), {"symmetric": True})):
        space = search.space(ratios, **options)
        assert list(space.axes) == ["A|B", "A|C", "B|C"]
        lambda_ = space.tensor({"A|B": 0.1, "A|C": 0.2, "B|C": 0.3})
        assert torch.equal(lambda_, lambda_.T)
        torch.testing.assert_close(lambda_[0], torch.tensor([1.0, 0.1, 0.2]))


def test_groups_tie_the_tasks_in_them():
    ratios = TransferRatios(TASKS)
    space = search.space(ratios, groups={"g": ["A", "C"]})
    assert list(space.axes) == ["B->g", "g->g", "g->B"]
    lambda_ = space.tensor({"B->g": 0.1, "g->g": 0.2, "g->B": 0.3})
    torch.testing.assert_close(lambda_, torch.tensor([[1.0, 0.1, 0.2], [0.3, 1.0, 0.3], [0.2, 0.1, 1.0]]))
    assert list(search.space(ratios, groups={"all": TASKS}, symmetric=True).axes) == ["all"]
    assert list(search.space(ratios, groups={"g": ["C", "A"]}, symmetric=True).axes) == ["g|B", "g|g"]
    ratios = TransferRatios(TASKS, init=torch.tensor([[1, 0.1, 0.2], [0.3, 1, 0.4], [0.5, 0.6, 1]]))
    means = search.space(ratios, groups={"g": ["A", "C"]}).params()
    assert means == pytest.approx({"B->g": 0.35, "g->g": 0.35, "g->B": 0.35})


def test_loss_weights_tied_and_on_a_logarithmic_scale():
    weights = LossWeights(["a", "b", "c"], constraint=Positive())
    space = search.space(weights, 1e-3, 10.0, log=True, groups={"bc": ["b", "c"]})
    assert list(space.axes) == ["a", "bc"]
    study = search.random(lambda point: point["a"], space, trials=400, seed=1)
    drawn = np.array([trial.params["a"] for trial in search.trials(study)])
    assert drawn.min() >= 1e-3
    assert drawn.max() <= 10.0
    assert np.mean(drawn < 0.1) == pytest.approx(0.5, abs=0.08), "0.1 is the middle of [1e-3, 10] on that scale"
    space.set_({"a": 2.0, "bc": 0.5})
    torch.testing.assert_close(weights(), torch.tensor([2.0, 0.5, 0.5]))


def test_a_budget_takes_shares():
    ratios = TransferRatios(["A", "B"], constraint=Budget(total=2.0))
    space = search.space(ratios, 0.1, 1.0)
    assert list(space.axes) == ["A=A", "B->A", "A->B", "B=B"]
    space.set_({"A=A": 0.6, "B->A": 0.2, "A->B": 0.5, "B=B": 0.5})
    torch.testing.assert_close(ratios(), torch.tensor([[1.5, 0.5], [1.0, 1.0]]))


def test_a_grid_of_shares_has_every_lambda_once():
    weights = LossWeights(["a", "b", "c"], constraint=Budget(total=3.0))
    space = search.space(weights, values=[0.0, 0.5, 1.0])
    points = space.points()
    shares = {tuple(Fraction(int(2 * v), int(2 * sum(p))) for v in p) for p in product([0, 0.5, 1], repeat=3) if any(p)}
    assert len(points) == len(shares) == 19
    lambda_ = torch.stack([space.tensor(point) for point in points])
    torch.testing.assert_close(lambda_.sum(1), torch.full((19,), 3.0))
    found = {tuple(Fraction(x / 3).limit_denominator(9) for x in row) for row in lambda_.double().tolist()}
    assert found == shares
    calls = []
    study = search.grid(lambda point: calls.append(dict(point)) or point["a"], space)
    assert calls == points
    assert [trial.params for trial in search.trials(study)] == points
    with pytest.raises(ValueError, match="all 0"):
        space.tensor({"a": 0.0, "b": 0.0, "c": 0.0})


def test_shares_that_are_rounded_are_recognised():
    """0.1 : 0.3 and 0.2 : 0.6 are one λ, but 0.1 + 0.3 is rounded another way than 0.2 + 0.6 for some totals."""
    weights = LossWeights(["a", "b"], constraint=Budget(total=0.7))
    values = [0.1, 0.2, 0.3, 0.6, 0.9]
    expected = {Fraction(str(a)) / Fraction(str(b)) for a in values for b in values}
    assert len(search.space(weights, values=values).points()) == len(expected)


def test_each_row_of_a_budget_needs_a_share():
    space = search.space(TransferRatios(["A", "B"], constraint=Budget()), values=[0.0, 1.0])
    assert len(space.points()) == 9, "(0, 1), (1, 0) and (1, 1) in each row"
    assert all(bool(space.tensor(point).isfinite().all()) for point in space.points())


def test_other_constraints_keep_all_points_in_order():
    space = search.space(LossWeights(["a", "b"], constraint=Box(0, 2)), values=[2.0, 0.0, 1.0])
    assert space.points() == [{"a": a, "b": b} for a in (2.0, 0.0, 1.0) for b in (2.0, 0.0, 1.0)]


def test_shares_are_not_negative():
    weights = LossWeights(["a", "b"], constraint=Budget())
    for options in ({"values": [-0.5, 0.5]}, {"low": -1.0}, {"values": [0.0]}):
        with pytest.raises(ValueError, match=r"shares of Budget.*must be non-negative and not all 0"):
            search.space(weights, **options)
    assert search.space(weights, 0.0, 1.0).tensor({"a": 0.2, "b": 0.6}).tolist() == pytest.approx([0.25, 0.75])


def test_a_grid_over_the_space_of_a_module():
    ratios = TransferRatios(["A", "B"])
    space = search.space(ratios, values=[0.0, 0.5, 1.0])
    study = search.grid(lambda point: float((space.tensor(point)[0, 1] - 0.5).abs() + space.tensor(point)[1, 0]), space)
    assert len(search.trials(study)) == 9
    assert search.best(study).params == {"B->A": 0.5, "A->B": 0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"high": 3.0}, r"3.0.*not allowed by Box\(0, 1\)"),
        ({"low": 1.0, "high": 0.5}, "low < high"),
        ({"log": True}, "positive numbers"),
        ({"values": [0.5, 0.5]}, "each once"),
        ({"high": math.nan}, "low < high"),
        ({"high": math.inf}, "finite"),
        ({"groups": {"g": ["A", "D"]}}, "'D' is none of"),
        ({"groups": {"g": ["A"], "h": ["A"]}}, "'A' is in two groups"),
    ],
)
def test_a_space_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        search.space(TransferRatios(TASKS, constraint=Box(0, 1)), **options)


def test_a_grid_needs_values_and_a_way_back_needs_a_module():
    space = search.space(TransferRatios(TASKS))
    with pytest.raises(ValueError, match="a grid needs values"):
        search.grid(lambda point: 0.0, space)
    with pytest.raises(ValueError, match="params lack"):
        space.tensor({"A->B": 0.0})
