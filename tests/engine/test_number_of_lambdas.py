"""The benchmark over the number of λ: its best λ are the best, its trainings are equal, its searches count rightly."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from optuna.samplers import RandomSampler

from bilevel_hpo import BilevelLearner, LossWeights

pytest.importorskip("sklearn")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "number_of_lambdas.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("number_of_lambdas", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "examples"), [("flipped", 10_000), ("digits", 1_000)])
def test_groups_are_parts_of_the_sources(benchmark: ModuleType, name: str, examples: int) -> None:
    for count in benchmark.COUNTS[name]:
        group = benchmark.groups(count, examples)
        assert group.shape == (examples,)
        assert group.unique().tolist() == list(range(count))
        for coarser in (each for each in (1, 3, 10) if each <= count):
            both = torch.stack([group, benchmark.groups(coarser, examples)], 1)
            assert len(both.unique(dim=0)) == count, f"groups of {count} λ cut across those of {coarser}"


def test_from_three_groups_on_the_best_weights_are_one_value_for_each_group(benchmark: ModuleType) -> None:
    problem = benchmark.flipped(0)
    assert problem.right.sum() == 6000
    for count in (3, 10, 30, 100, 1_000, 10_000):
        group = benchmark.groups(count, 10_000)
        assert len(torch.stack([group, problem.right.long()], 1).unique(dim=0)) == count


def test_the_best_weights_have_the_error_of_least_squares_on_the_right_labels(benchmark: ModuleType) -> None:
    # Of n examples with D features and noise variance 1: 1 + D / (n − D − 1), here with n = 100 + 6000. A draw varies
    # by √(2 / D) = 14 % of the second term, the mean of 12 by 4 %.
    errors = [benchmark.plain(p, p.best).test for p in map(benchmark.flipped, range(12))]
    assert sum(errors) / 12 - 1 == pytest.approx(100 / (6100 - 101), rel=0.15)


def test_other_weights_are_worse_than_the_best(benchmark: ModuleType) -> None:
    problems = [benchmark.flipped(seed) for seed in range(4)]

    def error(right: float, wrong: float) -> float:
        found = [benchmark.plain(p, torch.where(p.right, right, wrong)).test for p in problems]
        return sum(found) / len(found)

    best = error(1.0, 0.0)
    assert error(1.0, 0.1) > best + 0.05
    assert error(1.0, 1.0) > best + 2
    assert error(0.0, 0.0) > best + 1
    half = torch.rand(10_000, generator=torch.Generator().manual_seed(0)) < 0.5  # fewer examples: variance
    fewer = [benchmark.plain(p, p.best * half).test for p in problems]
    assert sum(fewer) / 4 - 1 == pytest.approx(2 * (best - 1), rel=0.2)


@pytest.mark.parametrize("name", ["flipped", "digits"])
def test_a_plain_training_is_what_the_learner_does_with_constant_weights(benchmark: ModuleType, name: str) -> None:
    problem = benchmark.PROBLEMS[name](3)
    constant = torch.rand(len(problem.right), generator=torch.Generator().manual_seed(0))
    weights = LossWeights([str(i) for i in range(len(constant))], init=constant)
    model = problem.model()
    learner = BilevelLearner(
        model,
        problem.optimizer(model),
        weights,
        train_loss=lambda model, lambda_, batch: problem.train_loss(model, lambda_),
        val_loss=lambda model, lambda_, batch: problem.val_loss(model),
    )
    learner.fit([None] * problem.steps, [None], 1, outer_every=None, progress=False)
    found = benchmark.plain(problem, constant)
    assert found.val == pytest.approx(float(problem.val_loss(model).detach()), rel=1e-3)
    assert found.test == pytest.approx(problem.test(model), rel=1e-3, abs=2 / 677)


def test_digits_have_four_wrong_labels_in_ten(benchmark: ModuleType) -> None:
    right = benchmark.digits(0).right
    assert float(right[:600].float().mean()) == pytest.approx(0.9, abs=0.05)
    assert float(right[600:].float().mean()) == pytest.approx(0.15, abs=0.06)


def test_learned_weights_end_at_the_best_ones(benchmark: ModuleType) -> None:
    problem = benchmark.flipped(2)
    found = benchmark.learned(problem, 100)
    assert found["right"] > 0.98
    assert found["wrong"] < 0.02
    assert found["test"] == pytest.approx(benchmark.plain(problem, problem.best).test, abs=0.01)


def test_a_search_begins_with_equal_weights_and_is_a_longer_one_at_that_point(benchmark: ModuleType) -> None:
    problem = benchmark.flipped(1)
    trials = benchmark.searched(problem, 3, RandomSampler(seed=0), 6, math.inf)["trials"]
    shorter = benchmark.searched(problem, 3, RandomSampler(seed=0), 3, math.inf)["trials"]
    equal = benchmark.plain(problem, torch.ones(10_000))
    assert (trials[0]["val"], trials[0]["test"]) == (equal.val, equal.test)
    assert [t["val"] for t in shorter] == [t["val"] for t in trials[:3]]
    assert len({t["val"] for t in trials}) == 6


def test_choosing_that_takes_too_long_ends_a_search(benchmark: ModuleType) -> None:
    assert len(benchmark.searched(benchmark.flipped(1), 3, RandomSampler(seed=0), 6, 1e-9)["trials"]) == 1


@pytest.mark.parametrize(("count", "trainings", "values"), [(1, 100, 100), (3, 100, 4), (3, 10, 2), (10, 100, 1)])
def test_a_grid_has_the_values_that_its_trainings_allow(
    benchmark: ModuleType, count: int, trainings: int, values: int
) -> None:
    assert benchmark.values_per_axis(count, trainings) == values


def test_a_row_has_the_winners_on_validation_and_is_charged_choosing_and_trainings(benchmark: ModuleType) -> None:
    first = [(5.0, 2.0, 0.1), (4.0, 3.0, 0.2), (1.0, 1.5, 0.5)]
    second = [(5.0, 4.0, 0.2), (6.0, 1.0, 0.4)]  # ended early
    found = [
        {"trials": [dict(zip(("val", "test", "choosing"), t, strict=True)) for t in one]} for one in (first, second)
    ]
    job = benchmark.Job("flipped", "TPE", 10, 0, 3, 20.0)
    row = benchmark.row(job, 2, found, [10.0, 20.0])
    assert row["by_seed"] == [3.0, 4.0]
    assert row["seconds"] == pytest.approx((0.2 + 2 * 10 + 0.4 + 2 * 20) / 2)
    row = benchmark.row(job, 3, found, [10.0, 20.0])
    assert row["by_seed"] == [1.5, 4.0]
    assert row["trainings"] == 2.5
    assert row["half_interval"] == pytest.approx(12.71 * 1.7678 / math.sqrt(2), rel=1e-4)


def test_a_grid_on_a_logarithmic_axis_has_equal_ratios(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def noted(problem: object, weights: torch.Tensor) -> object:
        seen.append(float(weights[0]))
        return benchmark.Scores(0.0, 0.0)

    monkeypatch.setattr(benchmark, "plain", noted)
    benchmark.gridded(benchmark.flipped(0), 1, 4)
    assert seen == pytest.approx([0.001, 0.01, 0.1, 1.0], rel=1e-5)
    seen.clear()
    benchmark.gridded(benchmark.digits(0), 1, 5)
    assert seen == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


def test_errors_are_held_against_those_of_learned_weights_on_the_same_seeds(benchmark: ModuleType) -> None:
    rows = [
        {"problem": "flipped", "lambdas": 10, "method": "TPE", "by_seed": [2.0, 5.0]},
        {"problem": "flipped", "lambdas": 10, "method": "learned", "by_seed": [1.0, 3.0]},
        {"problem": "flipped", "lambdas": 3, "method": "learned", "by_seed": [0.0, 0.0]},
    ]
    searched, learned, _ = benchmark.held_against_learned(rows)
    assert searched["excess"] == pytest.approx([1.5, 12.71 * math.sqrt(0.5) / math.sqrt(2)], rel=1e-4)
    assert learned["excess"] == [0.0, 0.0]
