"""Paired comparisons against numbers by hand, closed forms and SciPy."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from bilevel_hpo.statistics import (
    mean_over_seeds,
    paired,
    rank_biserial,
    scale_of,
    signed_rank_p,
)

MINE = np.array([[0.1, 0.3], [0.2, 0.4]])
THEIRS = np.array([[0.2, 0.4], [0.4, 0.5]])


def test_differences_ratios_and_interval_by_hand():
    found = paired(MINE, THEIRS, test_share=0.1)
    np.testing.assert_allclose(found.by_seed, [-0.1, -0.15])
    assert found.difference == pytest.approx(-0.125)
    assert found.relative == pytest.approx(-0.125 / 0.375)
    # Student's t for one degree of freedom is 12.706; s = 0.05 / √2.
    half = 12.7062 * 0.05 / math.sqrt(2) * math.sqrt(1 / 2 + 0.1)
    assert (found.low, found.high) == pytest.approx((-0.125 - half, -0.125 + half), rel=1e-4)
    np.testing.assert_allclose(found.by_task, [0.5, 0.775])
    assert found.ratio == pytest.approx((0.5 + 0.75 + 0.5 + 0.8) / 4)
    assert found.ratio_std == pytest.approx(0.025 / math.sqrt(2))  # 0.625 and 0.65
    assert found.geometric == pytest.approx((0.5 * 0.75 * 0.5 * 0.8) ** 0.25)
    assert (found.wins, found.tasks, found.seeds_better, found.seeds) == (2, 2, 2, 2)
    assert (found.wins_pairs, found.pairs) == (4, 4)
    assert found.better
    assert (found.holds_for_seeds, found.holds_for_tasks) == (False, None)


def test_the_interval_is_that_of_scipy_where_the_seeds_share_nothing():
    rng = np.random.default_rng(0)
    mine, theirs = rng.uniform(1, 2, (2, 7, 3))
    found = paired(mine, theirs, test_share=0.0)
    by_scipy = stats.ttest_rel(mine.mean(1), theirs.mean(1)).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((by_scipy.low, by_scipy.high))
    p_scipy = stats.wilcoxon(np.log(mine / theirs).mean(0)).pvalue
    assert (found.p_tasks, found.p_pairs) == pytest.approx(
        (p_scipy, stats.wilcoxon(np.log(mine / theirs).ravel()).pvalue)
    )


def test_one_seed_and_an_unknown_share_have_no_interval():
    assert paired(MINE[:1], THEIRS[:1], test_share=0.1).holds_for_seeds is None
    assert paired(MINE, THEIRS).holds_for_seeds is None
    assert math.isnan(paired(MINE[:1], THEIRS[:1], test_share=0.1).ratio_std)


def test_what_is_higher_is_better_is_compared_by_differences():
    """Accuracies and the errors they leave: the same differences, the opposite sign, the same winner."""
    rng = np.random.default_rng(1)
    mine, theirs = rng.uniform(0.6, 0.9, (2, 3, 8))
    up = paired(mine, theirs, test_share=0.2, higher_is_better=True)
    down = paired(1 - mine, 1 - theirs, test_share=0.2, scale="difference")
    assert up.scale == "difference"
    assert up.difference == pytest.approx(-down.difference)
    assert (up.low, up.high) == pytest.approx((-down.high, -down.low))
    for name in ("better", "wins", "seeds_better", "effect", "p_tasks", "p_pairs", "wins_pairs", "holds_for_seeds"):
        assert getattr(up, name) == pytest.approx(getattr(down, name)), name
    assert math.isnan(up.ratio)
    np.testing.assert_allclose(up.by_task, (mine - theirs).mean(0))


def test_better_on_every_task_is_an_effect_of_one_in_both_directions():
    mine, theirs = np.full((2, 7), 0.9), np.full((2, 7), 0.8)
    up = paired(mine, theirs, higher_is_better=True)
    assert (up.effect, up.wins, up.better) == (1.0, 7, True)
    down = paired(theirs, mine)
    assert (down.effect, down.wins, down.better) == (1.0, 7, True)
    assert paired(mine, theirs).effect == -1.0


def test_the_geometric_ratio_turns_round_with_the_comparison():
    there, back = paired(MINE, THEIRS), paired(THEIRS, MINE)
    assert there.geometric * back.geometric == pytest.approx(1)
    assert there.ratio * back.ratio > 1.01
    assert there.effect == -back.effect == 1.0


def test_signed_rank_test_over_the_tasks():
    other = np.ones((2, 7))
    found = paired(other * 0.9, other, test_share=0.1)
    assert found.p_tasks == pytest.approx(2 / 2**7)  # all seven agree
    assert found.holds_for_tasks
    mixed = 1 + np.array([[-0.3, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06]] * 2)
    found = paired(mixed, other, test_share=0.1)
    # The rank of the only negative is 7; rank sums of at most 7: 1, 1, 1, 2, 2, 3, 4, 5 subsets of 1…7.
    assert found.p_tasks == pytest.approx(2 * (1 + 1 + 1 + 2 + 2 + 3 + 4 + 5) / 2**7)
    assert found.holds_for_tasks is False
    assert found.effect == pytest.approx((7 - 21) / 28)
    assert paired(other[:, :5] * 0.9, other[:, :5], test_share=0.1).holds_for_tasks is None
    tied = np.concatenate([other[:, :5] * 0.9, other[:, :2]], axis=1)
    assert paired(tied, other, test_share=0.1).holds_for_tasks is None  # two of the seven tasks do not differ


def test_the_same_scores_differ_in_nothing():
    same = paired(MINE, MINE, test_share=0.1)
    assert (same.ratio, same.wins, same.p_tasks, same.effect, same.better) == (1.0, 0, 1.0, 0.0, False)


def test_only_scores_of_both_are_compared():
    mine = np.array([[0.1, 0.2, np.nan], [0.3, 9.0, np.nan], [np.nan] * 3])
    theirs = np.array([[0.2, 0.2, np.nan], [0.2, np.nan, np.nan], [0.5] * 3])
    found = paired(mine, theirs, test_share=0.0)
    np.testing.assert_allclose(found.by_seed, [-0.05, 0.1])
    assert (found.tasks, found.pairs, found.wins) == (2, 3, 0)
    np.testing.assert_array_equal(np.isnan(found.by_task), [False, False, True])
    assert found.reference == pytest.approx(0.2)


def test_scale():
    assert scale_of(MINE, THEIRS, higher_is_better=False) == "ratio"
    assert scale_of(MINE, higher_is_better=True) == "difference"
    assert scale_of(MINE, np.array([[0.0, np.nan]]), higher_is_better=False) == "difference"


def test_ranks():
    assert signed_rank_p(np.zeros(3)) == 1.0
    assert rank_biserial(np.array([-1.0, -2.0, 0.0])) == 1.0
    assert rank_biserial(np.array([-1.0, 2.0])) == pytest.approx(-1 / 3)


def test_mean_over_seeds_knows_what_is_missing():
    np.testing.assert_array_equal(mean_over_seeds(np.array([[1.0, np.nan], [2.0, np.nan]])), [1.5, np.nan])


@pytest.mark.parametrize(
    ("mine", "theirs", "scale", "message"),
    [
        (MINE[:1], THEIRS, None, "shape"),
        (MINE[0], THEIRS[0], None, "shape"),
        (MINE[:0], THEIRS[:0], None, "shape"),
        (MINE * np.nan, THEIRS, None, "at least one task must have a score of both"),
        (-MINE, THEIRS, "ratio", "every score must be positive"),
    ],
)
def test_refusals(mine, theirs, scale, message):
    with pytest.raises(ValueError, match=message):
        paired(mine, theirs, scale=scale)


def test_all_numbers_can_be_written_to_json():
    plain = {f.name: getattr(paired(MINE, THEIRS), f.name) for f in dataclasses.fields(paired(MINE, THEIRS))}
    kept = {name: value for name, value in plain.items() if not isinstance(value, np.ndarray)}
    assert {type(value) for value in kept.values()} <= {float, int, str, bool}


def test_five_tasks_by_hand():
    """One seed: the method is better on four tasks; the signed ranks of the log ratios are −5 −4 −3 −2 +1."""
    reference = np.ones((1, 5))
    method = np.exp(np.array([[-0.5, -0.4, -0.3, -0.2, 0.1]]))
    found = paired(method, reference)
    assert (found.wins, found.tasks) == (4, 5)
    assert found.effect == pytest.approx(13 / 15)
    # Of the 32 sign patterns those with a sum of positive ranks of at most 1 are 2; two-sided 4/32.
    assert found.p_tasks == pytest.approx(4 / 32)
    assert found.ratio == pytest.approx(method.mean())


def test_seeds_are_averaged_before_tasks_are_tested():
    reference = np.array([[1.0, 1.0, 2.0], [1.0, 2.0, 2.0]])
    method = np.array([[0.5, 1.2, 2.0], [0.9, 1.0, 3.0]])
    found = paired(method, reference)
    ratios = np.array([[0.5, 1.2, 1.0], [0.9, 0.5, 1.5]])
    assert found.ratio == pytest.approx(ratios.mean())
    assert found.ratio_std == pytest.approx(np.std([0.9, 2.9 / 3], ddof=1))
    assert found.geometric == pytest.approx(np.prod(ratios) ** (1 / 6))
    assert found.wins == 2
    assert (found.wins_pairs, found.pairs) == (3, 6)
    assert found.effect == pytest.approx(rank_biserial(np.log(ratios).mean(0)))
