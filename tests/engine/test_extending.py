"""The examples of docs/extending.md, as they stand there, against finite differences of real training steps."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from bilevel_hpo import (
    BilevelLearner,
    Box,
    Constraint,
    LossWeights,
    OneStep,
    TransferRatios,
    Unrolled,
    WeightsDict,
    plots,
    search,
)
from tests.engine.problems import LAMBDA, OPTIMIZERS, Case, batch, decayed, net, plain, weighted
from tests.engine.test_hypergradients import close
from tests.test_docs import ROOT, snippets

SHAPES = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the snippets define."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for snippet in snippets(ROOT / "docs" / "extending.md"):
            exec(compile(snippet, "extending.md", "exec"), names)
        names["exported"] = sorted(path.name for path in Path().glob("pull.*"))
    return names


def linear(model, weights, data):
    """A validation loss whose gradient is the same at every θ: T1−T2 is then one step of SGD, exactly."""
    return sum(
        (p * torch.linspace(-1, 2, p.numel(), dtype=p.dtype).view_as(p)).sum()
        for name, p in model.named_parameters()
        if not name.endswith("0.bias")  # a parameter that L_val does not name
    )


def linear_and_named(model, weights, data):
    return linear(model, weights, data) + weights.square().sum() * data[0].square().mean()


@pytest.mark.parametrize("val_loss", [linear, linear_and_named])
@pytest.mark.parametrize("train_loss", [weighted, decayed])
@pytest.mark.parametrize("extra", [[], [nn.BatchNorm1d(5)], [nn.Dropout(0.3)]], ids=["plain", "batchnorm", "dropout"])
def test_the_estimator_against_real_steps_of_sgd(page, train_loss, val_loss, extra):
    case = Case(net(*extra), OPTIMIZERS["sgd"], train_loss, val_loss)
    exact = case.finite_difference()
    close(case.g(page["T1T2"](scale=0.05)), exact, 1e-7)
    close(case.g(OneStep()), exact, 1e-7)


def test_the_estimator_changes_nothing_and_learns(page):
    model = net(nn.BatchNorm1d(5), nn.Dropout(0.5))
    case = Case(model, OPTIMIZERS["adam"])
    learner = case.learner(page["T1T2"](scale=0.02))
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(case.optimizer.state_dict())
    torch.manual_seed(3)
    with torch.no_grad():
        g = learner.hypergradient(batch(1), batch(2))
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    torch.testing.assert_close(case.optimizer.state_dict(), state, rtol=0, atol=0)
    torch.manual_seed(3)
    assert torch.equal(g, learner.hypergradient(batch(1), batch(2)))
    learner.fit([batch(1), batch(3)], [batch(2)], epochs=2, outer_every=1)
    assert learner.outer_steps == 4
    assert (learner.weights() != LAMBDA).all()


def test_the_estimator_cites_itself_once(page):
    learner = Case(net()).learner(page["T1T2"]())
    assert learner.citation().count("@") == 2
    learner.estimator.references = (
        *learner.estimator.references,
        "@misc{ours,\n year={2026}\n}",
        "@misc{ours, year={1}}",
    )
    assert learner.citation().endswith("@misc{ours,\n year={2026}\n}")
    assert learner.citation().count("@") == 3


@pytest.mark.parametrize(
    ("references", "error"), [("@misc{a, year={1}}", TypeError), (("darts",), ValueError), (("",), ValueError)]
)
def test_what_is_no_reference_is_named(page, references, error):
    learner = Case(net()).learner(page["T1T2"]())
    learner.estimator.references = references
    with pytest.raises(error, match="references must be"):
        learner.citation()


def chained(case: Case, weights: nn.Module) -> list[Tensor]:
    """dL_val/dφ for the parameters φ of `weights`, by central differences of one real step of the inner optimizer."""

    def at(p: Tensor, i: int, change: float) -> Tensor:
        p.view(-1)[i] += change
        lambda_ = weights().detach()
        p.view(-1)[i] -= change
        return case.after_real_steps(lambda_, [batch(1)], batch(2))

    data = [p.detach() for p in weights.parameters()]
    return [torch.stack([(at(p, i, 1e-5) - at(p, i, -1e-5)) / 2e-5 for i in range(p.numel())]).view_as(p) for p in data]


def one_outer_step(case: Case, weights: nn.Module) -> list[Tensor]:
    """dL_val/dφ as the learner steps along it: SGD of learning rate 1."""
    before = [p.detach().clone() for p in weights.parameters()]
    learner = BilevelLearner(
        case.model,
        case.optimizer,
        weights,
        train_loss=case.train_loss,
        val_loss=case.val_loss,
        outer_optimizer=torch.optim.SGD(weights.parameters(), lr=1.0),
    )
    torch.manual_seed(9)
    learner.outer_step(batch(1), batch(2))
    return [old - p.detach() for old, p in zip(before, weights.parameters(), strict=True)]


@pytest.fixture
def shares(page):
    return page["Shares"](floor=0.05)


def test_the_constraint_is_one(shares):
    raw = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    lambda_ = shares(raw)
    close(lambda_.detach().sum(-1), torch.ones(4).double(), 1e-7)
    assert (lambda_ > 0.05).all()
    close(shares(shares.inverse(lambda_)).detach(), lambda_.detach(), 1e-12)
    assert torch.autograd.gradcheck(shares, raw)


def test_the_constraint_under_every_module(shares):
    weights = LossWeights(["a", "b", "c", "d"], constraint=shares)
    close(weights().detach(), torch.full((4,), 0.25), 1e-6)
    ratios = TransferRatios(["a", "b"], ["a", "b", "c"], constraint=shares)
    assert ratios.diagonal == "learned"
    close(ratios().detach(), torch.full((2, 3), 1 / 3), 1e-6)
    both = WeightsDict({"loss": weights, "ratios": ratios}).double()
    assert both.labels[-1] == "ratios.c->b"
    close(both()["ratios"].detach().sum(1), torch.ones(2).double(), 1e-6)
    assert both.state_dict()["ratios.constraint.floor"] == pytest.approx(0.05)
    for asked in ({"diagonal": "fixed"}, {"symmetric": True}):
        with pytest.raises(ValueError, match=r"Shares\(floor=0\.05\)"):
            TransferRatios(["a", "b"], constraint=shares, **asked)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 0.01}, r"a = 0\.01.*not allowed by Shares\(floor=0\.05\)"),
        ({"a": 0.9}, r"λ cannot be set: shares must.*sum to 1"),
        ([0.5, 0.5], r"shape of λ, \(4,\); got \(2,\)"),
    ],
)
def test_the_constraint_refuses_by_name(shares, values, message):
    weights = LossWeights(["a", "b", "c", "d"], constraint=shares)
    before = weights().detach()
    with pytest.raises(ValueError, match=message):
        weights.set_(values)
    assert torch.equal(weights(), before)


def test_the_constraint_refuses_what_does_not_fit(shares):
    with pytest.raises(ValueError, match="30 shares of at least"):
        LossWeights([str(i) for i in range(30)], constraint=shares)


def test_the_constraint_in_a_search(shares):
    weights = LossWeights(["a", "b", "c"], constraint=shares)
    space = search.space(weights, 0.1, 1.0)
    space.set_({"a": 0.2, "b": 0.2, "c": 0.4})
    close(weights().detach(), 0.05 + 0.85 * torch.tensor([0.25, 0.25, 0.5]), 1e-6)
    study = search.random(lambda point: (point["a"] - point["b"]) ** 2, space, trials=2)
    assert len(study.trials) == 2


def test_a_search_over_a_module_of_another_kind_says_what_to_do(page):
    with pytest.raises(TypeError, match=r"got DescribedTasks\. Name the axes instead"):
        search.space(described(page))


def test_the_constraint_is_learned_through(shares):
    case = Case(net(), OPTIMIZERS["adam"], lambda_=SHAPES)
    weights = LossWeights(["a", "b", "c"], SHAPES, shares).double()
    (g,), (exact,) = one_outer_step(case, copy.deepcopy(weights)), chained(case, weights)
    close(g, exact, 1e-6)


class Sigmoid(Constraint):
    """The least that a constraint is: two functions, and an `__init__` that calls no other."""

    def __init__(self, high: float) -> None:
        self.high = high

    def forward(self, raw: Tensor) -> Tensor:
        return self.high * raw.sigmoid()

    def inverse(self, lambda_: Tensor) -> Tensor:
        if not bool(((lambda_ > 0) & (lambda_ < self.high)).all()):
            raise ValueError(f"λ must lie between 0 and {self.high}")
        return torch.logit(lambda_ / self.high)


def test_two_functions_are_a_constraint():
    ratios = TransferRatios(["a", "b"], constraint=Sigmoid(3.0)).double()
    close(ratios().detach(), torch.ones(2, 2).double(), 1e-6)
    assert ratios.diagonal == "fixed"
    ratios.set_({"a->b": 2.5})
    assert ratios()[1, 0].item() == pytest.approx(2.5, rel=1e-12)
    with pytest.raises(ValueError, match="λ cannot be set: λ must lie between 0 and 3"):
        ratios.set_({"a->b": 3.5})
    assert list(ratios.state_dict()) == ["raw"]
    assert "Sigmoid" in repr(ratios)
    case = Case(net(), OPTIMIZERS["adam"])
    weights = LossWeights(["a", "b", "c"], LAMBDA, Sigmoid(3.0)).double()
    close(one_outer_step(case, copy.deepcopy(weights))[0], chained(case, weights)[0], 1e-6)


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(1), Unrolled(3)], ids=repr)
@pytest.mark.parametrize("warm", [0, 5])
def test_the_optimizer_against_its_own_steps(page, estimator, warm):
    case = Case(net(), lambda p: page["QHM"](p, lr=0.05), warm=warm)
    close(case.g(estimator), case.finite_difference([batch(1)] * estimator.steps), 1e-7)


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(1)], ids=repr)
def test_the_learning_rate_of_the_optimizer_may_be_lambda(page, estimator):
    """Its rule receives lr as a tensor with a graph."""

    def after(lr: float) -> Tensor:
        model = net()
        optimizer = page["QHM"](model.parameters(), lr=lr)
        weighted(model, LAMBDA, batch(1)).backward()
        optimizer.step()
        return plain(model, LAMBDA, batch(2)).detach()

    model, weights = net(), LossWeights(["lr"], init=0.05).double()
    learner = BilevelLearner(
        model,
        page["QHM"](model.parameters(), lr=0.05),
        weights,
        train_loss=lambda m, w, data: weighted(m, LAMBDA, data),
        val_loss=plain,
        hypergradient=estimator,
        inner_settings=lambda w: {"lr": w[0]},
    )
    lr = weights().item()
    close(learner.hypergradient(batch(1), batch(2)), ((after(lr + 1e-5) - after(lr - 1e-5)) / 2e-5)[None], 1e-7)


def test_the_estimator_says_that_it_has_no_check(page):
    learner = Case(net()).learner(page["T1T2"]())
    learner.outer_step(batch(1), batch(2))
    row = learner.history.iloc[0]
    assert np.isnan(row["certificate"])
    assert row["certified"]
    assert learner.uncertified == 0


def described(page: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    descriptors = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    return page["DescribedTasks"](["a", "b", "c"], descriptors).double()


def test_the_module_is_learned_through(page):
    weights = described(page)
    case = Case(net(), OPTIMIZERS["adam"], lambda_=weights().detach())
    for g, exact in zip(one_outer_step(case, copy.deepcopy(weights)), chained(case, weights), strict=True):
        close(g, exact, 1e-6)


def test_the_module_among_others_is_saved_with_the_learner(page):
    def learner() -> BilevelLearner:
        model = net()
        weights = WeightsDict({"tasks": described(page), "more": LossWeights(["l2"], 0.1, Box(0, 1)).double()})
        return BilevelLearner(
            model,
            torch.optim.Adam(model.parameters(), lr=0.02),
            weights,
            train_loss=lambda m, w, data: weighted(m, w["tasks"], data) + w["more"][0] * decayed(m, LAMBDA, data),
            val_loss=plain,
        )

    trained, resumed = learner(), learner()
    trained.fit([batch(1), batch(3)], [batch(2)], epochs=2, outer_every=1)
    assert trained.history.filter(regex="^g:").columns.tolist() == ["g:tasks.a", "g:tasks.b", "g:tasks.c", "g:more.l2"]
    resumed.load_state_dict(copy.deepcopy(trained.state_dict()))
    for one in (trained, resumed):
        one.fit([batch(1), batch(3)], [batch(2)], epochs=4, outer_every=1)
    assert torch.equal(trained.weights()["tasks"], resumed.weights()["tasks"])


def test_labels_of_a_module_without_any():
    unnamed = nn.Module()
    unnamed.raw = nn.Parameter(torch.ones(2))
    unnamed.forward = lambda: unnamed.raw * 1.0
    assert WeightsDict({"x": unnamed, "y": LossWeights(["a"])}).labels == ["x.0", "x.1", "y.a"]


def test_the_plot_shows_its_facts(page):
    g = np.array([[1.0, -2.0], [3.0, -2.5], [5.0, -4.5], [99.0, 99.0]])
    history = pd.DataFrame({"skipped": [False, False, False, True], "g:a": g[:, 0], "g:<b>": g[:, 1]})
    facts = page["pull_facts"](history)
    assert facts.names == ["a", "<b>"]
    np.testing.assert_allclose(facts.mean, [-3.0, 3.0])
    np.testing.assert_allclose(facts.error, [2 / np.sqrt(3), np.sqrt(7 / 12)])
    figure = page["pull"](history)
    assert list(figure.data[0].x) == ["a", "&lt;b&gt;"]
    np.testing.assert_allclose(figure.data[0].y, facts.mean)
    np.testing.assert_allclose(figure.data[0].error_y.array, 2 * facts.error)
    assert figure.layout.template.layout.colorway == tuple(plots.PALETTE)
    assert page["exported"] == ["pull.csv", "pull.html"]
    with pytest.raises(ValueError, match="1 outer steps"):
        page["pull_facts"](history.head(1))
