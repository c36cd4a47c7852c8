"""Does λ mean anything: statistics of matrices over pairs of tasks, against closed forms and other implementations."""

from itertools import combinations, permutations

import numpy as np
import pytest
from numpy.typing import NDArray
from paper_studies.meaning import words
from paper_studies.meaning.chemistry import CLOSE, ClosePair, close_among, standing
from paper_studies.meaning.labels import FEWEST, label_correlations
from paper_studies.meaning.pair_ranks import (
    VIEWS,
    View,
    correlation,
    off_diagonal,
    reliability,
    renaming_p,
    without_levels,
)
from paper_studies.meaning.relations import Agreement, agreement, relations
from paper_studies.meaning.removal import gains
from paper_studies.meaning.variance import variance_parts
from scipy import stats

from gate_model.data.tasks import CATALOGUE

Array = NDArray[np.float64]
RNG = np.random.default_rng


def matrices(n: int, n_tasks: int, seed: int = 0) -> Array:
    return RNG(seed).standard_normal((n, n_tasks, n_tasks))


def levels(n_tasks: int, seed: int = 0) -> Array:
    """A row effect plus a column effect."""
    rng = RNG(seed)
    return rng.standard_normal((n_tasks, 1)) + rng.standard_normal((1, n_tasks))


# Rank correlations


def test_correlations_are_those_of_scipy() -> None:
    a, b = matrices(2, 6)
    a[0] = a[0].round()  # with ties
    off = off_diagonal(6)
    assert correlation(a, b, "all pairs") == pytest.approx(stats.spearmanr(a[off], b[off]).statistic)
    rows = [stats.spearmanr(a[t, off[t]], b[t, off[t]]).statistic for t in range(6)]
    assert correlation(a, b, "within targets") == pytest.approx(np.mean(rows))
    rest = [without_levels(each)[off] for each in (a, b)]
    assert correlation(a, b, "pairs alone") == pytest.approx(stats.spearmanr(*rest).statistic)


def test_levels_are_taken_out_and_nothing_else() -> None:
    a, off = matrices(1, 5)[0], off_diagonal(5)
    rest = without_levels(a)
    np.testing.assert_allclose(without_levels(a + levels(5))[off], rest[off], atol=1e-12)
    np.testing.assert_allclose(np.nansum(rest, 0), 0, atol=1e-12)
    np.testing.assert_allclose(np.nansum(rest, 1), 0, atol=1e-12)
    np.testing.assert_allclose(without_levels(rest)[off], rest[off], atol=1e-12)
    assert (without_levels(levels(5))[off] == 0).all()
    with pytest.raises(ValueError, match="2 tasks; at least 3"):
        without_levels(a[:2, :2])


def test_what_does_not_vary_has_no_correlation() -> None:
    a = matrices(1, 5)[0]
    assert all(np.isnan(correlation(a, np.ones((5, 5)), view)) for view in VIEWS)
    assert np.isnan(correlation(a, levels(5), "pairs alone"))
    assert np.isnan(renaming_p(a, np.ones((5, 5)), "all pairs"))
    flat = a.copy()
    flat[0] = 1.0
    off = off_diagonal(5)
    rows = [stats.spearmanr(a[t, off[t]], flat[t, off[t]]).statistic for t in range(1, 5)]
    assert correlation(a, flat, "within targets") == pytest.approx(np.mean(rows)) == pytest.approx(1)


@pytest.mark.parametrize("view", VIEWS)
def test_chance_is_the_share_of_all_renamings(view: View) -> None:
    a, b = matrices(2, 4, seed=3)
    found = correlation(a, b, view)
    by_chance = [correlation(a, b[np.ix_(new, new)], view) for new in permutations(range(4))]
    share = np.mean(np.array(by_chance) >= found - 1e-12)
    assert renaming_p(a, b, view) == pytest.approx(share, abs=0.04)
    assert renaming_p(a, b, view) == renaming_p(a, b, view)


def test_reliability_of_a_mean() -> None:
    assert reliability([0.4, 0.6], 3) == pytest.approx(3 * 0.5 / 2)
    assert reliability([-0.2, 0.1], 5) == 0
    signal, noise = RNG(0).standard_normal(4000), RNG(1).standard_normal((2, 4, 4000))
    one, other = (signal + each for each in noise)
    expected = np.corrcoef(one.mean(0), other.mean(0))[0, 1]
    assert reliability([np.corrcoef(one[0], other[0])[0, 1]], 4) == pytest.approx(expected, abs=0.03)


# Variance


def test_the_parts_of_variance_are_those_that_went_in() -> None:
    """Mean over 300 draws from known variances; the estimates are unbiased, and all far enough from 0."""
    rng, n_seeds, n_tasks = RNG(0), 4, 10
    true = {
        "target": 1.0,
        "source": 0.5,
        "pair": 0.6,
        "target by seed": 0.3,
        "source by seed": 0.4,
        "pair by seed": 0.2,
    }
    shapes = {
        "target": (1, n_tasks, 1),
        "source": (1, 1, n_tasks),
        "pair": (1, n_tasks, n_tasks),
        "target by seed": (n_seeds, n_tasks, 1),
        "source by seed": (n_seeds, 1, n_tasks),
        "pair by seed": (n_seeds, n_tasks, n_tasks),
    }
    found = []
    for _ in range(300):
        y = 3 * rng.standard_normal((n_seeds, 1, 1))  # the level of a seed is no part
        for part, shape in shapes.items():
            y = y + np.sqrt(true[part]) * rng.standard_normal(shape)
        found.append(variance_parts(y).parts)
    for part, value in true.items():
        assert np.mean([each[part] for each in found]) == pytest.approx(value, rel=0.08), part


def test_pure_parts_are_told_apart() -> None:
    n_tasks = 7
    rows = np.broadcast_to(RNG(0).standard_normal((1, n_tasks, 1)), (3, n_tasks, n_tasks))
    found = variance_parts(rows)
    assert found.parts["target"] == pytest.approx(rows[0, :, 0].var(ddof=1))
    assert found.shares["target"] == found.stable == pytest.approx(1)
    assert np.isnan(found.p_pair)
    transposed = variance_parts(rows.transpose(0, 2, 1))
    assert transposed.shares["source"] == pytest.approx(1)
    pair = np.nan_to_num(without_levels(matrices(1, n_tasks)[0]))
    same = variance_parts(np.stack([pair, pair + 2, pair - 1]))
    assert same.shares["pair"] == pytest.approx(1)
    assert same.p_pair == 0
    nothing = variance_parts(np.ones((2, 3, 3)))
    assert sum(nothing.shares.values()) == nothing.stable == 0
    with pytest.raises(ValueError, match="1 seeds and 3 tasks; at least 2 and 3"):
        variance_parts(np.ones((1, 3, 3)))


def test_the_f_test_of_pairs_is_uniform_under_chance() -> None:
    p = [variance_parts(matrices(3, 6, seed) + levels(6, seed)).p_pair for seed in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


# Chemistry and labels


def test_close_pairs_are_tasks_of_the_catalogue_each_once() -> None:
    assert all(len(pair.tasks) == 2 and pair.tasks <= CATALOGUE.keys() and pair.reason for pair in CLOSE)
    assert len({pair.tasks for pair in CLOSE}) == len(CLOSE)
    assert [pair.name for pair in close_among(["HV", "BP", "MP", "CT"])] == ["BP|HV", "BP|CT"]


def test_the_standing_of_the_highest_pair() -> None:
    """One of the ten pairs of five tasks: by chance it is the highest in a tenth of the renamings."""
    tasks = ["A", "B", "C", "D", "E"]
    matrix = matrices(1, 5)[0]
    matrix[1, 3] = matrix[3, 1] = 9.0
    top = ClosePair(frozenset("BD"), "", "rule")
    found = standing(matrix, tasks, [top])
    assert found.percentile == {"B|D": pytest.approx(0.95)}
    assert found.p == pytest.approx(0.1, abs=0.02)
    low = standing(-matrix, tasks, [top])
    assert (low.mean, low.p) == (pytest.approx(0.05), 1.0)


def test_both_directions_of_a_pair_count_alike() -> None:
    matrix = np.array([[0.0, 6.0, 1.0], [2.0, 0.0, 4.0], [5.0, 3.0, 0.0]])  # ranks A|B 6 + 2, A|C 1 + 5, B|C 4 + 3
    pairs = {f"{a}|{b}": ClosePair(frozenset((a, b)), "", "rule") for a, b in combinations("ABC", 2)}
    found = standing(matrix, ["A", "B", "C"], list(pairs.values())).percentile
    assert found == {"A|B": pytest.approx(5 / 6), "A|C": pytest.approx(1 / 6), "B|C": pytest.approx(1 / 2)}


def test_label_correlations_are_those_of_the_train_molecules_that_carry_both() -> None:
    rng = RNG(0)
    labels = rng.standard_normal((60, 3))
    labels[:, 1] -= 2 * labels[:, 0]
    labels[::3, 0] = np.nan
    labels[FEWEST - 1 :, 2] = np.nan
    train = [np.arange(40), np.arange(20, 60)]
    expected = []
    for rows in train:
        both = labels[rows][np.isfinite(labels[rows, :2]).all(1)]
        expected.append(abs(stats.spearmanr(both[:, 0], both[:, 1]).statistic))
    found = label_correlations(labels, train)
    assert found[0, 1] == found[1, 0] == pytest.approx(np.mean(expected))
    assert found[0, 2] == found[1, 2] == 0, "too few molecules"


# Gain and relations


def test_a_source_that_helps_has_a_positive_gain() -> None:
    with_all = np.ones((2, 3))
    without = np.ones((2, 3, 3))  # [seed, removed, target]
    without[:, 2, 0] = 2.0
    without[1, 0, 1] = 0.5
    found = gains(with_all, without)
    assert found[0, 0, 2] == found[1, 0, 2] == pytest.approx(np.log(2))
    assert found[1, 1, 0] == pytest.approx(-np.log(2))
    assert np.count_nonzero(found) == 3


TASKS = ["HV", "HVC", "BP", "CT", "VP", "DS", "RI", "MP"]


def test_words_follow_the_numbers() -> None:
    pair, noise = matrices(1, 8, seed=1)[0], matrices(4, 8, seed=5)
    labels = np.exp(pair)
    stable = relations(pair + 0.3 * noise, TASKS, labels)
    assert stable.mean("pairs alone") > 0.7
    assert "**Seeds agree on single pairs, and the mean of 4 is mostly not chance.**" in words.pair_words(stable, 4)
    assert words.labels_words(stable, "pairs alone").endswith("stand **higher than by chance** (pairs alone).")
    against = relations(-pair + 0.3 * noise, TASKS, labels)
    assert words.labels_words(against, "within targets").endswith("stand **lower than by chance** (within targets).")
    chance = relations(noise, TASKS, labels)
    assert chance.variance.p_pair > 0.05
    assert "**Seeds do not agree on single pairs.**" in words.pair_words(chance, 4)
    faint = relations(np.concatenate([pair + 3 * matrices(40, 8, seed=7)])[:12], TASKS, labels)
    assert (faint.variance.p_pair < 0.05) == ("Seeds agree" in words.pair_words(faint, 12))
    high = np.zeros((3, 8, 8)) + noise[:3]
    for close in close_among(TASKS):
        a, b = (TASKS.index(task) for task in close.tasks)
        high[:, a, b] = high[:, b, a] = 9.0 + noise[:3, a, b]
    assert "stand **higher than by chance**" in words.chemistry_words(relations(high, TASKS, labels))
    assert words.chemistry_words(relations(noise[:, :3, :3], ["X", "Y", "Z"], labels[:3, :3])).startswith(
        "The tasks have none"
    )
    table = words.relation_lines({"gain": stable}, {"gain": 4})
    assert len({row.count("|") for row in table[:3]}) == 1, "rows are as wide as the header"
    assert f"| {words.number(stable.mean('all pairs'))} ± " in table[2]
    assert (words.number(-0.001), words.number(-0.5), words.number(float("nan"))) == ("0.00", "−0.50", "–")


def test_agreement_of_lambda_with_the_gain_and_what_noise_allows() -> None:
    a, b = matrices(2, 8)
    same = {view: agreement(a, a, view, (0.81, 1.0)) for view in VIEWS}
    assert all(each.rho == pytest.approx(1) and each.ceiling == pytest.approx(0.9) for each in same.values())
    noise = {view: Agreement(0.3, 0.001, 0.0) for view in VIEWS}
    flat = {view: agreement(a, np.ones((8, 8)), view, (1.0, 0.0)) for view in VIEWS}
    lines = words.agreement_lines(
        {"m": same, "n": noise, "o": flat}, {"m": "within targets", "n": "pairs alone", "o": "pairs alone"}
    )
    assert "| `m` | +1.00 (p 0.0005; 0.90) |" in lines[2]
    assert lines[-3] == "- `m`: the gain of pairs with a large λ stands **higher than by chance** (within targets)."
    assert "nothing could agree" in lines[-2]
    assert "does not vary" in lines[-1]
    assert agreement(a, b, "all pairs", (1.0, 1.0)).p > 0.05
