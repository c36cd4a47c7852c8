"""Conformal intervals: the quantile by hand, their coverage against simulated errors, too few labels."""

import numpy as np
import pytest

from gate_model.predictor.intervals import Intervals, fewest
from gate_model.predictor.uncertainty import calibrate


def of_scores(*scores: list[float]) -> Intervals:
    """Tasks with these errors and σ = 1."""
    n = max(map(len, scores))
    labels = np.full((n, len(scores)), np.nan)
    for task, of_task in enumerate(scores):
        labels[: len(of_task), task] = of_task
    return Intervals.calibrated(np.zeros_like(labels), np.ones_like(labels), labels)


def test_the_quantile_of_19_scores_by_hand() -> None:
    """k = ⌈20·coverage⌉: the 18th of 19 for 90 %, the 19th for 95 %, the 10th for 50 %, the 11th for 50.1 %."""
    intervals = of_scores([float(score) for score in np.random.default_rng(0).permutation(np.arange(1, 20))])
    for coverage, wanted in ((0.9, 18), (0.95, 19), (0.5, 10), (0.501, 11), (0.01, 1)):
        assert intervals.factors(coverage)[0] == wanted
    assert intervals.factors(0.951)[0] == np.inf
    assert of_scores([float(score) for score in range(1, 100)]).factors(0.55)[0] == 55, (
        "100 · 0.55 is above 55 in floats"
    )


def test_scores_are_in_units_of_sigma_and_of_either_sign() -> None:
    labels, sigma = np.array([[1.0], [-4.0], [9.0], [np.nan]]), np.array([[1.0], [2.0], [3.0], [1.0]])
    intervals = Intervals.calibrated(np.zeros((4, 1)), sigma, labels)
    np.testing.assert_allclose(intervals.scores[0], [1, 2, 3])
    assert intervals.factors(0.5)[0] == 2


@pytest.mark.parametrize(("coverage", "labels"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_too_few_labels_give_an_unbounded_interval(coverage: float, labels: int) -> None:
    assert fewest(coverage) == labels
    factors = of_scores([0.5] * labels, [0.5] * (labels - 1)).factors(coverage)
    np.testing.assert_array_equal(factors, [0.5, np.inf])


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 90.0, np.nan])
def test_a_coverage_is_a_share(coverage: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        of_scores([1.0]).factors(coverage)


def test_intervals_come_back_as_they_were() -> None:
    intervals = of_scores([3.0, 1.0, 2.0], [], [0.1])
    back = Intervals.from_dict(intervals.to_dict())
    assert [list(scores) for scores in back.scores] == [[1, 2, 3], [], [0.1]]
    damaged = intervals.to_dict() | {"counts": np.array([3, 0, 2])}
    with pytest.raises(ValueError, match=r"scores has 4 numbers, intervals\.counts says 5"):
        Intervals.from_dict(damaged)


@pytest.mark.parametrize(("n", "coverage"), [(19, 0.9), (50, 0.8), (200, 0.95)])
def test_coverage_of_errors_whose_size_and_tails_are_unknown(n: int, coverage: float) -> None:
    """Errors of Student's t with 3 degrees of freedom and a σ that is wrong by a factor that varies from one molecule
    to the next: coverage is a property of the ranks alone, between c and c + 1/(n + 1).
    """
    rng = np.random.default_rng(n)
    shares = []
    for _ in range(2000):
        true = rng.gamma(2, 1, n + 50)
        errors, sigma = true * rng.standard_t(3, n + 50), true * rng.uniform(0.2, 3, n + 50)
        selection, new = slice(0, n), slice(n, None)
        factor = Intervals.calibrated(np.zeros((n, 1)), sigma[selection, None], errors[selection, None]).factors(
            coverage
        )
        shares.append((np.abs(errors[new]) <= factor * sigma[new]).mean())
    exact = np.ceil((n + 1) * coverage) / (n + 1)
    assert np.mean(shares) == pytest.approx(exact, abs=4 * np.std(shares) / np.sqrt(2000))


def test_sigma_calibrated_on_the_same_labels_costs_little_coverage() -> None:
    """σ has two numbers per task that the selection labels have chosen; of 100 labels that costs less than 1 %."""
    rng = np.random.default_rng(1)
    n, shares = 100, []
    for _ in range(1000):
        spread = rng.gamma(2, 0.1, 2 * n)
        errors = rng.normal(0, np.sqrt(2 * spread**2 + 0.02))
        slope, floor = calibrate(spread[:n], errors[:n])
        sigma = np.sqrt(slope * spread**2 + floor)
        factor = Intervals.calibrated(np.zeros((n, 1)), sigma[:n, None], errors[:n, None]).factors(0.9)
        shares.append((np.abs(errors[n:]) <= factor * sigma[n:]).mean())
    assert 0.89 < np.mean(shares) < 0.91
