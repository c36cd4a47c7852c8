import pytest
import torch

from bilevel_hpo import Box, Budget, LossWeights, Positive, TransferRatios

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
        (lambda: TransferRatios("abc"), TypeError, "targets='abc' is one string"),
        (lambda: LossWeights("abc"), TypeError, "names='abc' is one string"),
        (lambda: LossWeights([]), ValueError, "names must be unique and not empty"),
        (lambda: TransferRatios(["a", "a"]), ValueError, r"targets .* twice: \['a'\]"),
        (lambda: TransferRatios(["a"], ["s", "s"]), ValueError, "sources .* twice"),
        (lambda: TransferRatios(TASKS, init=[[1.0]]), ValueError, r"shape \(1, 1\).*3 targets"),
        (lambda: LossWeights(TASKS, init=[1.0]), ValueError, r"shape \(1,\).*3 names"),
        (lambda: TransferRatios(TASKS, init=1.5), ValueError, r"1\.5.*Box"),
        (lambda: TransferRatios(TASKS, init=MATRIX, symmetric=True), ValueError, "not symmetric"),
        (lambda: TransferRatios(["a", "b"], ["b", "a"], symmetric=True), ValueError, "same targets and sources"),
        (lambda: TransferRatios(TASKS, constraint=Budget(), symmetric=True), ValueError, "symmetric=True.*Budget"),
        (lambda: TransferRatios(TASKS, constraint=Budget(), diagonal="fixed"), ValueError, "diagonal='fixed'.*Budget"),
        (lambda: TransferRatios(TASKS, constraint=Budget(), init=0.3), ValueError, "init=0.3"),
        (lambda: TransferRatios(["x"], TASKS, constraint=Budget()), ValueError, "among at least 2 sources"),
        (lambda: LossWeights(TASKS, constraint=Budget(), init=0.3), ValueError, "init=0.3"),
        (lambda: TransferRatios(TASKS, diagonal="free"), ValueError, "diagonal='free'"),
    ],
)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()
