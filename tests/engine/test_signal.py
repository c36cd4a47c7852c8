"""`signal`: levels on made-up noise, power, invariances, the chain rule, and what it refuses."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bilevel_hpo import BilevelLearner, Box, Budget, LossWeights, OneStep, Positive, TransferRatios, WeightsDict
from bilevel_hpo.constraints import Constraint
from bilevel_hpo.signal import MIN_STEPS, raw_gradient, signal
from bilevel_hpo.signal._judge import judged
from bilevel_hpo.signal._statistics import adjusted, coefficients, contrasts, rotation_p, simes, student
from tests.engine.problems import batch, net, plain, weighted

Array = NDArray[np.float64]


def frame(g: Array, lambda_: Array | None = None, labels: list[str] | None = None) -> pd.DataFrame:
    """A history with these g `[n, N]`; λ = 1/N when left out."""
    n, size = g.shape
    labels = labels or [f"task {k}" for k in range(size)]
    lambda_ = np.full((n, size), 1 / size) if lambda_ is None else lambda_
    columns = {"outer_step": np.arange(1, n + 1), "skipped": np.zeros(n, dtype=bool)}
    return pd.DataFrame(
        columns
        | {f"lambda:{label}": lambda_[:, k] for k, label in enumerate(labels)}
        | {f"g:{label}": g[:, k] for k, label in enumerate(labels)}
    )


def noise(seed: int, n: int, size: int, phi: float = 0.0) -> Array:
    """Stationary AR(1) series of variance 1, `[n, size]`."""
    x = np.random.default_rng(seed).standard_normal((n, size))
    for i in range(1, n):
        x[i] = phi * x[i - 1] + np.sqrt(1 - phi**2) * x[i]
    return x


# The statistics against oracles


def test_coefficients_are_the_cosine_transform_where_neighbours_are_not_alike() -> None:
    x = noise(0, 31, 2)
    x = x[1:] - 0.9 * x[:-1]  # autocorrelation below 0: nothing is whitened
    rows = coefficients(x)
    assert len(rows) == 1 + 4
    np.testing.assert_allclose(rows, scipy.fft.dct(x, axis=0, norm="ortho")[:5], atol=1e-12)


def test_whitening_brings_slow_noise_to_the_level_of_the_mean() -> None:
    power = np.mean([np.square(coefficients(noise(seed, 200, 20, 0.8))) for seed in range(40)], (0, 2))
    raw = np.mean(
        [np.square(scipy.fft.dct(noise(seed, 200, 20, 0.8), axis=0, norm="ortho")) for seed in range(40)], (0, 2)
    )
    assert power[0] == pytest.approx(9.0, rel=0.15)  # the spectrum of AR(1) at 0: (1 + φ)/(1 − φ)
    assert raw[1 : len(power)].mean() < 0.75 * power[0]
    assert power[1:].mean() > 0.95 * power[0]


def test_contrasts_of_single_steps_are_the_one_sample_t_test() -> None:
    x = noise(1, 12, 5) + 0.3
    t, p = student(contrasts(x, np.arange(12)))
    expected = scipy.stats.ttest_1samp(x, 0.0)
    np.testing.assert_allclose(t, expected.statistic)
    np.testing.assert_allclose(p, expected.pvalue)


def test_the_rotation_test_of_one_column_is_the_t_test() -> None:
    for seed in range(10):
        rows = noise(seed, 7, 1)
        rows[0] *= 1 + seed
        assert rotation_p(rows) == pytest.approx(float(student(rows)[1][0]), rel=1e-9)


@pytest.mark.parametrize("size", [3, 50])
def test_the_rotation_test_against_drawn_rotations(size: int) -> None:
    rows = noise(2, 6, size)
    rows[0] *= 1.2
    normalised = rows / np.linalg.norm(rows, axis=0)
    u = noise(3, 200_000, 6)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    drawn = np.square(u @ normalised).sum(1)
    assert rotation_p(rows) == pytest.approx(float((drawn >= np.square(normalised[0]).sum()).mean()), abs=4e-3)


def test_corrections_for_many_tests() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjusted(p, "holm"), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(adjusted(p, "bh"), scipy.stats.false_discovery_control(p))
    np.testing.assert_allclose(simes(np.array([[0.04, 0.01], [0.03, 0.5]])), [0.04, 0.02])


# Levels


@pytest.mark.parametrize(("n", "phi"), [(20, 0.0), (20, 0.5), (50, 0.0), (50, 0.7), (200, 0.5)])
def test_false_alarms_stay_at_the_level(n: int, phi: float) -> None:
    found = [judged(noise(seed, n, 6, phi), None) for seed in range(200)]
    assert np.mean([6 * each.table["p"].min() <= 0.05 for each in found]) < 0.1  # .05 and three standard errors
    assert np.mean([each.p <= 0.05 for each in found]) < 0.1


def test_more_lambda_than_outer_steps() -> None:
    shared = [noise(1000 + seed, 40, 1) for seed in range(100)]
    found = [judged(noise(seed, 40, 150) + common, None) for seed, common in enumerate(shared)]
    assert np.mean([each.p <= 0.05 for each in found]) < 0.12
    weak = signal(frame(noise(0, 40, 150) + 0.3))
    assert weak.p < 0.001
    assert weak.told < 10  # none of them alone is far from 0


def test_the_noise_of_a_fixed_validation_set_counts_when_it_is_declared() -> None:
    undeclared, declared = [], []
    for seed in range(60):
        of_batch = noise(5000 + seed, 6, 4)
        history = frame(noise(seed, 96, 4) + of_batch[np.arange(96) % 6])
        undeclared.append(signal(history).told > 0)
        declared.append(signal(history, validation_batches=6).told > 0)
    assert np.mean(undeclared) > 0.5
    assert np.mean(declared) < 0.14
    g = noise(0, 96, 4) + 1.5 + noise(7, 6, 4)[np.arange(96) % 6] * 0.3
    assert signal(frame(g), validation_batches=6).told == 4


# Power


def test_finds_the_lambda_that_matter_and_their_direction() -> None:
    g = noise(0, 100, 8, 0.3)
    g[:, 2] -= 1.0
    g[:, 5] += 1.0
    said = signal(frame(g))
    assert sorted(said.labels) == ["task 2", "task 5"]
    assert said.p < 0.001
    assert said.table.loc["task 2", "mean"] == pytest.approx(g[: said.table.loc["task 2", "steps"], 2].mean())
    assert 30 < said.effective_steps <= 100
    assert "2 of 8 λ can be told from chance (Holm, 5 %); all together: p < .001." in str(said)
    assert "task 2 (more)" in str(said)
    assert "task 5 (less)" in str(said)


def test_finds_what_was_learned_early() -> None:
    g = noise(3, 200, 5)
    g[:50, 1] += 2.0
    said = signal(frame(g))
    assert said.labels == ["task 1"]
    assert said.table.loc["task 1", "steps"] <= 100
    assert signal(frame(g), window=(0.5, 1.0)).told == 0


def test_effective_steps_shrink_with_dependence() -> None:
    independent, dependent = (
        np.median([signal(frame(noise(seed, 200, 6, phi))).table["n_effective"].median() for seed in range(20)])
        for phi in (0.0, 0.8)
    )
    assert dependent < independent / 2


def test_says_that_nothing_was_found() -> None:
    text = str(signal(frame(noise(4, 60, 5))))
    assert "0 of 5 λ" in text
    assert "constant λ, or a search over a few, would do as well" in text
    assert "not of the choice of a fixed validation set" in text


@pytest.mark.parametrize(
    ("g", "said"),
    [
        (noise(4, 60, 5), "Nothing that the training did with λ"),
        (noise(4, 8, 5), "These outer steps are worth too few"),
        (noise(4, 60, 5) + 1.0, "Told from chance: task "),
        (np.linspace(-1.0, 1.1, 40)[:, None] * np.ones(2), "These outer steps are worth too few"),
        (np.zeros((30, 2)), "No λ had a gradient in 30 outer steps"),
    ],
)
def test_the_conclusion_is_a_part_of_the_words(g: np.ndarray, said: str) -> None:
    found = signal(frame(g))
    assert found.conclusion.startswith(said)
    assert found.conclusion in str(found)
    assert "\n" not in found.conclusion
    assert ("would do as well" in found.conclusion) == said.startswith("Nothing")


def test_bh_tells_more_than_holm() -> None:
    g = noise(1, 100, 40)
    g[:, :20] += 0.42
    assert signal(frame(g), correction="bh").told > signal(frame(g)).told > 0


# Invariances


def test_order_and_scale_do_not_matter() -> None:
    g = noise(5, 80, 4, 0.4) + np.array([0.0, 0.3, 0.6, 0.0])
    said = signal(frame(g))
    order = [2, 0, 3, 1]
    permuted = signal(frame(g[:, order], labels=[f"task {k}" for k in order]))
    pd.testing.assert_frame_equal(permuted.table.loc[said.table.index], said.table)
    assert permuted.p == pytest.approx(said.p)
    scaled = signal(frame(g * np.array([1e-6, 1.0, 1e6, -1.0])))
    np.testing.assert_allclose(scaled.table["p"], said.table["p"])
    assert scaled.p == pytest.approx(said.p)


def test_rows_that_are_not_finite_are_left_out_and_counted() -> None:
    g = noise(6, 60, 3) + 0.5
    history = frame(g)
    history.loc[[3, 17], "g:task 1"] = [np.nan, np.inf]
    history.loc[30, "skipped"] = True
    said, clean = signal(history), signal(frame(np.delete(g, [3, 17, 30], 0)))
    assert (said.left_out, said.steps) == (3, 57)
    pd.testing.assert_frame_equal(said.table, clean.table)
    assert "3 outer steps that are not finite" in str(said)


def test_constant_and_empty_gradients() -> None:
    g = noise(7, 30, 3)
    g[:, 0], g[:, 1] = 2.0, 0.0
    said = signal(frame(g))
    assert said.labels == ["task 0"]
    assert said.table.loc["task 0", "p"] < 1e-12
    assert said.tested == 2
    assert said.table.loc["task 1", "p"] == 1.0
    assert "1 λ without a gradient" in str(said)
    assert "No λ had a gradient in 30 outer steps" in str(signal(frame(np.zeros((30, 2)))))


def test_the_shortest_series() -> None:
    said = signal(frame(noise(0, MIN_STEPS, 2) + 20.0))
    assert said.told == 2
    with pytest.raises(ValueError, match=f"7 finite outer steps.*at least {MIN_STEPS}"):
        signal(frame(noise(0, MIN_STEPS - 1, 2)))


def test_one_lambda() -> None:
    assert signal(frame(noise(0, 40, 1) + 1.0)).told == 1
    alone = signal(frame(noise(0, 40, 1)), LossWeights(["a"], constraint=Budget()))
    assert alone.tested == 0  # a budget of one has nothing to divide
    assert alone.p == 1.0


# The chain rule


def test_a_budget_takes_away_what_all_have_in_common() -> None:
    lambda_ = torch.rand(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lambda_ = 3 * lambda_ / lambda_.sum(1, keepdim=True)
    g = torch.from_numpy(noise(0, 5, 4))
    weights = LossWeights(list("abcd"), constraint=Budget(3.0))
    expected = lambda_ * (g - (lambda_ * g).sum(1, keepdim=True) / 3.0)
    torch.testing.assert_close(raw_gradient(weights, lambda_, g), expected)
    torch.testing.assert_close(raw_gradient(weights, lambda_, g + 100.0), expected)
    history = frame(noise(1, 60, 4, 0.5) + 5.0)
    assert signal(history).told == 4
    assert signal(history, LossWeights(list("abcd"), constraint=Budget())).told == 0


def test_a_budget_per_target() -> None:
    ratios = TransferRatios(["a", "b", "c"], constraint=Budget())
    lambda_, g = ratios().detach().reshape(1, 9).double(), torch.from_numpy(noise(0, 1, 9))
    rows, slopes = lambda_.view(3, 3), g.view(3, 3)
    expected = rows * (slopes - (rows * slopes).sum(1, keepdim=True))
    torch.testing.assert_close(raw_gradient(ratios, lambda_, g).view(3, 3), expected, rtol=1e-5, atol=1e-7)


def test_entries_that_are_not_learned_are_not_tested() -> None:
    ratios = TransferRatios(["a", "b"], constraint=Box(0.0, 0.5), init=0.25)
    history = frame(noise(0, 30, 4) + 1.0, np.tile([1.0, 0.25, 0.25, 1.0], (30, 1)), ratios.labels)
    table = signal(history, ratios).table
    assert table["tested"].tolist() == [False, True, True, False]
    symmetric = TransferRatios(["a", "b"], init=0.25, symmetric=True)
    lambda_, g = torch.tensor([[1.0, 0.25, 0.25, 1.0]]), torch.tensor([[7.0, 2.0, 3.0, 7.0]])
    assert raw_gradient(symmetric, lambda_, g).tolist() == [[0.0, 5.0, 0.0, 0.0]]


def test_several_weights_by_name() -> None:
    both = WeightsDict({"losses": LossWeights(["a", "b"], constraint=Budget()), "free": LossWeights(["c"])})
    lambda_ = torch.tensor([[0.5, 0.5, 1.0]], dtype=torch.float64)
    g = torch.tensor([[4.0, 2.0, 3.0]], dtype=torch.float64)
    slope = 1 - np.exp(-1.0)  # of softplus, where it is 1
    torch.testing.assert_close(
        raw_gradient(both, lambda_, g), torch.tensor([[0.5, -0.5, 3 * slope]], dtype=torch.float64)
    )


@pytest.mark.parametrize(
    ("constraint", "lambda_"),
    [(Budget(), [0.0, 1.0]), (Positive(), [0.0, 1.0]), (Box(0.0, 0.1), [0.0, 0.1]), (Box(-0.1, 0.7), [-0.1, 0.7])],
)
def test_the_ends_of_float32(constraint: Constraint, lambda_: list[float]) -> None:
    weights = LossWeights(["a", "b"], [0.5, 0.5] if isinstance(constraint, Budget) else 0.05, constraint)
    raw = raw_gradient(weights, torch.tensor([lambda_]), torch.tensor([[2.0, 3.0]]))
    assert raw.isfinite().all()
    if isinstance(constraint, Box):
        assert raw.tolist() == [[2.0, 3.0]]


class Square(Constraint):
    """λ = raw²."""

    def forward(self, raw: Tensor) -> Tensor:
        return raw.square()

    def inverse(self, lambda_: Tensor) -> Tensor:
        return lambda_.sqrt()


def test_a_constraint_of_ones_own() -> None:
    weights = LossWeights(["a", "b"], 1.0, Square())
    lambda_, g = torch.tensor([[4.0, 9.0]]), torch.tensor([[1.0, 1.0]])
    assert raw_gradient(weights, lambda_, g).tolist() == [[4.0, 6.0]]


def test_at_a_bound() -> None:
    weights = LossWeights(["a", "b", "c"], 0.5, Box(0.0, 1.0))
    lambda_ = np.tile(np.array([0.0, 0.0, 1.0], dtype=np.float32), (40, 1))
    said = signal(frame(noise(0, 40, 3) + np.array([2.0, -2.0, -2.0]), lambda_), weights)
    assert said.told == 3
    assert said.table["at_bound"].tolist() == [True, False, True]
    assert "2 of them ended at a bound" in str(said)


class Own(nn.Module):
    """λ of a kind that `signal` does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(3))

    def forward(self) -> Tensor:
        return self.logits.sigmoid()


def test_a_module_of_ones_own_and_its_chain() -> None:
    g = noise(0, 40, 3) + 1.0
    history = frame(g, np.full((40, 3), 0.5))
    in_lambda = signal(history, Own())
    assert not in_lambda.constrained
    with pytest.raises(TypeError, match="Own; it must be LossWeights"):
        raw_gradient(Own(), torch.ones(1, 3), torch.ones(1, 3))
    chained = signal(history, Own(), chain=lambda lambda_, g: lambda_ * (1 - lambda_) * g)
    assert chained.constrained
    np.testing.assert_allclose(chained.table["mean"], in_lambda.table["mean"] / 4)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 0.0}, "level must be a number between 0 and 1, .*; got 0.0"),
        ({"correction": "none"}, "correction must be 'holm' or 'bh'; got 'none'"),
        ({"window": (0.5, 0.5)}, r"window must be .*; got \(0.5, 0.5\)"),
        ({"window": (0.0, 1.5)}, r"window must be .*; got \(0.0, 1.5\)"),
        ({"validation_batches": 1}, "validation_batches must be at least 2; got 1"),
        ({"chain": lambda lambda_, g: g[:, :1]}, r"chain gave shape \(30, 1\)"),
        ({"chain": lambda lambda_, g: g / 0}, "chain gave 60 values that are not finite"),
        ({"weights": LossWeights(["a"])}, "must both have the 1 columns"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        signal(frame(noise(0, 30, 2)), **arguments)


def test_bad_frames() -> None:
    history = frame(noise(0, 30, 2))
    with pytest.raises(ValueError, match=r"must be `learner\.history`"):
        signal(history[["outer_step", "skipped"]])
    with pytest.raises(ValueError, match=r"no column `g:<label>` for \['task 1'\]"):
        signal(history.drop(columns="g:task 1"))


def test_the_history_of_a_learner() -> None:
    model = net()
    weights = LossWeights(["a", "b", "c"], torch.full((3,), 1 / 3), Budget()).double()
    learner = BilevelLearner(
        model,
        torch.optim.AdamW(model.parameters(), lr=0.01),
        weights,
        train_loss=weighted,
        val_loss=plain,
        hypergradient=OneStep(),
    )
    for i in range(MIN_STEPS):
        learner.step(batch(i), batch(100 + i))
    said = signal(learner.history, weights)
    assert (said.steps, said.tested, said.left_out) == (MIN_STEPS, 3, 0)
    assert said.table.index.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(said.table["mean"].sum(), 0.0, atol=1e-15)
