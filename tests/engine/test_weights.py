import copy
import pickle

import pytest
import torch

from bilevel_hpo import BilevelLearner, Box, Budget, LossWeights, Positive, TransferRatios, WeightsDict

TASKS = ["a", "b", "c"]
MATRIX = [[0.9, 0.2, 0.3], [0.4, 0.8, 0.6], [0.7, 0.1, 0.5]]


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def close(actual, expected):
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=torch.float64), rtol=1e-13, atol=1e-15)


def test_the_default_is_the_papers_start():
    ratios = TransferRatios(TASKS)
    assert ratios().tolist() == [[1.0] * 3] * 3
    assert repr(ratios.constraint) == "Box(0, 1)"
    assert ratios.diagonal == "fixed"


@pytest.mark.parametrize("constraint", [Box(), Positive()], ids=repr)
def test_a_fixed_diagonal_is_one_and_has_no_gradient(constraint):
    ratios = TransferRatios(TASKS, init=MATRIX, constraint=constraint)
    close(ratios(), torch.tensor(MATRIX).fill_diagonal_(1.0))
    ratios().sum().backward()
    off = ~torch.eye(3, dtype=torch.bool)
    assert (ratios.raw.grad.diagonal() == 0).all()
    assert (ratios.raw.grad[off] > 0).all()


def test_what_stands_on_a_fixed_diagonal_need_not_be_allowed():
    ratios = TransferRatios(TASKS, init=torch.tensor(MATRIX).fill_diagonal_(7.0), constraint=Box(0, 1))
    close(ratios(), torch.tensor(MATRIX).fill_diagonal_(1.0))


def test_a_learned_diagonal_is_learned():
    ratios = TransferRatios(TASKS, init=MATRIX, diagonal="learned")
    close(ratios(), MATRIX)
    ratios().sum().backward()
    assert (ratios.raw.grad == 1).all()


def test_a_budget_starts_with_the_direct_share_and_learns_the_diagonal():
    ratios = TransferRatios(TASKS, constraint=Budget())
    close(ratios(), torch.full((3, 3), 0.1).fill_diagonal_(0.8))
    assert ratios.diagonal == "learned"
    close(TransferRatios(TASKS, constraint=Budget(total=2, direct=0.5))().diagonal(), [1.0] * 3)


def test_rows_of_a_budget_are_targets():
    ratios = TransferRatios(["a", "b"], ["b", "c", "a"], constraint=Budget())
    close(ratios(), [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])
    with torch.no_grad():
        ratios.raw.copy_(torch.randn(2, 3))
    close(ratios().sum(1), [1.0, 1.0])


def test_symmetric_has_one_parameter_for_both_directions():
    symmetric = (torch.tensor(MATRIX) + torch.tensor(MATRIX).T) / 2
    ratios = TransferRatios(TASKS, init=symmetric, symmetric=True)
    with torch.no_grad():
        ratios.raw[0, 2] = 0.05
    lambda_ = ratios()
    assert torch.equal(lambda_, lambda_.T)
    assert lambda_[2, 0].item() == 0.05
    g = torch.arange(9.0).reshape(3, 3)
    lambda_.backward(g)
    close(ratios.raw.grad, (g + g.T).triu(1))


def test_symmetric_with_a_learned_diagonal():
    symmetric = (torch.tensor(MATRIX) + torch.tensor(MATRIX).T) / 2
    ratios = TransferRatios(TASKS, init=symmetric, symmetric=True, diagonal="learned")
    close(ratios(), symmetric)
    g = torch.arange(9.0).reshape(3, 3)
    ratios().backward(g)
    close(ratios.raw.grad, (g + g.T).triu(1) + g.diagonal().diag())


def test_names_may_differ_and_their_common_tasks_are_direct():
    ratios = TransferRatios(["x", "b"], ["a", "b", "c"], init=0.25)
    close(ratios(), [[0.25, 0.25, 0.25], [0.25, 1.0, 0.25]])


def test_frame_rows_are_targets_and_columns_sources():
    frame = TransferRatios(["x", "y"], ["s", "t", "u"], init=[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]).to_frame()
    assert list(frame.index) == ["x", "y"]
    assert list(frame.columns) == ["s", "t", "u"]
    assert (frame.index.name, frame.columns.name) == ("target", "source")
    assert frame.loc["x", "u"] == 0.3
    assert frame.loc["y", "s"] == 0.4


def test_loss_weights():
    close(LossWeights(TASKS)(), [1.0, 1.0, 1.0])
    close(LossWeights(TASKS, init=[0.1, 2.0, 3.0])(), [0.1, 2.0, 3.0])
    close(LossWeights(TASKS, constraint=Budget(total=6))(), [2.0, 2.0, 2.0])
    series = LossWeights(TASKS, init=[0.5, 0.25, 0.25], constraint=Budget()).to_series()
    assert series["a"] == pytest.approx(0.5, abs=1e-15)


def test_project_moves_raw_into_the_box():
    weights = LossWeights(TASKS, constraint=Box(0, 2))
    with torch.no_grad():
        weights.raw.copy_(torch.tensor([-1.0, 1.0, 5.0]))
    weights.project_()
    assert weights.raw.tolist() == [0.0, 1.0, 2.0]


def test_the_state_comes_back():
    source, copy = TransferRatios(TASKS, constraint=Budget()), TransferRatios(TASKS, constraint=Budget())
    with torch.no_grad():
        source.raw.normal_()
    copy.load_state_dict(source.state_dict())
    assert torch.equal(source(), copy())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TransferRatios("abc"), TypeError, "targets must be a sequence of names.*'abc'"),
        (lambda: LossWeights("abc"), TypeError, "names must be a sequence of names.*'abc'"),
        (lambda: LossWeights([]), ValueError, "names must be unique and not empty"),
        (lambda: TransferRatios(["a", "a"]), ValueError, r"targets .* twice: \['a'\]"),
        (lambda: TransferRatios(["a"], ["s", "s"]), ValueError, "sources .* twice"),
        (lambda: TransferRatios(TASKS, init=[[1.0]]), ValueError, r"3 targets.*; got \(1, 1\)"),
        (lambda: LossWeights(TASKS, init=[1.0]), ValueError, r"3 names.*; got \(1,\)"),
        (lambda: TransferRatios(TASKS, init=1.5), ValueError, r"1\.5.*Box"),
        (lambda: TransferRatios(TASKS, init=MATRIX, symmetric=True), ValueError, "not symmetric"),
        (lambda: TransferRatios(["a", "b"], ["b", "a"], symmetric=True), ValueError, "same targets and sources"),
        (lambda: TransferRatios(TASKS, constraint=Budget(), symmetric=True), ValueError, "symmetric=True.*Budget"),
        (lambda: TransferRatios(TASKS, constraint=Budget(), diagonal="fixed"), ValueError, "diagonal='fixed'.*Budget"),
        (lambda: TransferRatios(TASKS, constraint=Budget(), init=0.3), ValueError, "init=0.3"),
        (lambda: TransferRatios(["x"], TASKS, constraint=Budget()), ValueError, "among at least 2 sources"),
        (lambda: LossWeights(TASKS, constraint=Budget(), init=0.3), ValueError, "init=0.3"),
        (lambda: TransferRatios(TASKS, diagonal="free"), ValueError, "diagonal must be .*; got 'free'"),
        (lambda: LossWeights(TASKS, [1.0, 3.0, 1.0], Box(0, 2)), ValueError, r"init: b = 3 .*Box\(0, 2\)"),
    ],
)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("constraint", [Box(0, 2), Positive(), Budget(total=1.5)], ids=repr)
def test_loss_weights_can_be_set(constraint):
    weights = LossWeights(TASKS, [0.25, 0.5, 0.75], constraint)
    weights.set_({"a": 0.5, "b": 0.25})
    close(weights(), [0.5, 0.25, 0.75])
    weights.set_(torch.tensor([1.0, 0.125, 0.375], dtype=torch.float32))
    close(weights(), [1.0, 0.125, 0.375])
    close(weights.raw, constraint.inverse(weights().detach()))
    weights.set_(weights())
    weights.set_([0.5, 0.5, 0.5])
    close(weights(), [0.5] * 3)
    assert weights.raw.requires_grad
    assert weights.raw.is_leaf


def test_transfer_ratios_can_be_set_by_label_and_by_matrix():
    ratios = TransferRatios(TASKS, init=MATRIX, constraint=Positive())
    ratios.set_({"b->a": 0.05, "a->c": 4.0})
    expected = torch.tensor(MATRIX).fill_diagonal_(1.0)
    expected[0, 1], expected[2, 0] = 0.05, 4.0
    close(ratios(), expected)
    ratios.set_({"a->a": 1.0})
    ratios.set_(expected.flip(0).flip(1))
    close(ratios(), expected.flip(0).flip(1))


def test_both_directions_of_a_symmetric_pair_are_set():
    ratios = TransferRatios(TASKS, init=0.5, symmetric=True)
    ratios.set_({"c->a": 0.25})
    ratios.set_({"a->b": 0.75, "b->a": 0.75})
    close(ratios(), [[1.0, 0.75, 0.25], [0.75, 1.0, 0.5], [0.25, 0.5, 1.0]])


def test_a_learned_diagonal_can_be_set():
    ratios = TransferRatios(["a", "b"], constraint=Budget())
    ratios.set_({"a->a": 0.3, "b->a": 0.7})
    close(ratios(), [[0.3, 0.7], [0.2, 0.8]])


@pytest.mark.parametrize(
    ("weights", "values", "error", "message"),
    [
        (LossWeights(TASKS, 1.0, Box(0, 2)), {"b": 3.0}, ValueError, r"b = 3 .*Box\(0, 2\)"),
        (LossWeights(TASKS), [1.0, -2.0, 0.0], ValueError, r"b = -2, c = 0 .*Positive\(\)"),
        (LossWeights(TASKS), {"b": float("nan")}, ValueError, r"b = nan .*Positive\(\)"),
        (
            LossWeights(TASKS, constraint=Budget()),
            {"a": 0.9},
            ValueError,
            r"under Budget.*sum to 1; the sums are 1\.56",
        ),
        (LossWeights(TASKS), {"x": 1.0}, KeyError, r"\['x'\] are not labels of λ; the labels are \['a', 'b', 'c'\]"),
        (LossWeights(TASKS), [1.0, 2.0], ValueError, r"shape of λ, \(3,\); got \(2,\)"),
        (TransferRatios(TASKS), {"b->b": 0.5}, ValueError, r"b->b is 1 and not learned"),
        (TransferRatios(TASKS), torch.eye(3) * 0.5, ValueError, r"a->a is 1 and not learned"),
        (TransferRatios(TASKS, symmetric=True), {"a->b": 0.5, "b->a": 0.6}, ValueError, "symmetric"),
        (TransferRatios(TASKS, symmetric=True), MATRIX, ValueError, "symmetric"),
    ],
    ids=str,
)
def test_what_cannot_be_set_is_named_and_changes_nothing(weights, values, error, message):
    before = weights().detach().clone()
    with pytest.raises(error, match=message):
        weights.set_(values)
    assert torch.equal(weights(), before)


def test_setting_leaves_the_outer_optimizer_alone():
    model, weights = torch.nn.Linear(1, 1), LossWeights(["a"], constraint=Box(0, 2))
    learner = BilevelLearner(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        weights,
        train_loss=lambda m, w, x: w[0] * m(x).square().mean(),
        val_loss=lambda m, w, x: m(x).square().mean(),
    )
    learner.step(torch.ones(2, 1), torch.ones(2, 1))
    state = copy.deepcopy(learner.outer_optimizer.state_dict())
    weights.set_({"a": 0.5})
    torch.testing.assert_close(learner.outer_optimizer.state_dict(), state, rtol=0, atol=0)
    assert weights.raw is learner.outer_optimizer.param_groups[0]["params"][0]
    learner.step(torch.ones(2, 1), torch.ones(2, 1))
    assert 0.5 < weights().item() < 0.55  # g < 0, as before, and Adam's step is at most about 0.02


@pytest.mark.parametrize(
    "weights",
    [
        LossWeights(TASKS, constraint=Budget(0.3)),
        TransferRatios(TASKS, init=MATRIX, constraint=Box(0.1, 0.9)),
        WeightsDict({"x": LossWeights(TASKS), "y": TransferRatios(TASKS, constraint=Budget())}),
    ],
    ids=lambda weights: type(weights).__name__,
)
def test_modules_can_be_copied_and_pickled(weights):
    for same in (copy.deepcopy(weights), pickle.loads(pickle.dumps(weights))):
        assert repr(same) == repr(weights)
        torch.testing.assert_close(same(), weights(), rtol=0, atol=0)
        assert same.labels == weights.labels
    assert copy.deepcopy(weights).float().state_dict().keys() == weights.state_dict().keys()


def test_repr_is_one_line_a_module():
    assert repr(LossWeights(TASKS)) == "LossWeights(3 names, Positive())"
    ratios = TransferRatios(TASKS, constraint=Budget())
    said = "TransferRatios(3 targets × 3 sources, Budget(total=1, direct=0.8), diagonal=learned)"
    assert repr(ratios) == said
    assert repr(WeightsDict({"x": ratios})) == f"WeightsDict(\n  (x): {said}\n)"
