"""The same numbers with the modules people use; and that a hypergradient changes nothing."""

import copy

import pytest
import torch
from torch import nn

from bilevel_hpo import Direct, FiniteDifference, OneStep, StepBatches, Unrolled, UnsupportedError
from bilevel_hpo.problem import Composed
from tests.engine import problems
from tests.engine.problems import OPTIMIZERS, Case, batch, named, net, plain, weighted

LOOKING_AHEAD = [OneStep(), FiniteDifference(), Unrolled(1), Unrolled(2)]
ahead = pytest.mark.parametrize("estimator", LOOKING_AHEAD, ids=repr)


def close(actual, expected, rtol=1e-5):
    torch.testing.assert_close(actual, expected, rtol=0, atol=rtol * expected.abs().max().item())


def check(case, estimator):
    train = [batch(1)] * estimator.steps
    close(case.g(estimator), case.finite_difference(train))


def old_weight_norm():
    with pytest.warns(FutureWarning):
        return net(nn.utils.weight_norm(nn.Linear(5, 5)))


def hooked():
    model = net()
    model[0].register_forward_hook(lambda module, args, output: output * 1.5)
    model[2].register_forward_pre_hook(lambda module, args: (args[0] - 0.1,))
    return model


MODULES = {
    "dropout": lambda: net(nn.Dropout(0.4)),
    "batchnorm": lambda: net(nn.BatchNorm1d(5, momentum=0.0)),
    "layernorm": lambda: net(nn.LayerNorm(5)),
    "new-weight-norm": lambda: net(nn.utils.parametrizations.weight_norm(nn.Linear(5, 5))),
    "old-weight-norm": old_weight_norm,
    "hooks": hooked,
    "abc": problems.AbstractNet,
    "tied": problems.Tied,
    "attention": problems.Attention,
    "gru": problems.Recurrent,
    "reassigned-buffer": problems.Reassigned,
}


@pytest.fixture(params=MODULES)
def model(request):
    return MODULES[request.param]()


@ahead
def test_modules_give_the_slope_of_real_steps(model, estimator):
    check(Case(model), estimator)


def snapshot(case):
    return copy.deepcopy(
        {
            "theta": case.model.state_dict(),
            "optimizer": case.optimizer.state_dict(),
            "grad": [p.grad for p in case.model.parameters()],
            "requires": [p.requires_grad for p in case.model.parameters()],
            "training": [m.training for m in case.model.modules()],
            "rng": torch.get_rng_state(),
        }
    )


def assert_same(a, b):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
        assert a.dtype == b.dtype
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


@pytest.mark.parametrize("estimator", [Direct(), *LOOKING_AHEAD], ids=repr)
@pytest.mark.parametrize("training", [True, False])
def test_a_hypergradient_changes_nothing(model, estimator, training):
    case = Case(model, OPTIMIZERS["adamw-amsgrad"], val_loss=named)
    case.model.train(training)
    list(case.model.modules())[-1].eval()  # one module with a flag of its own
    learner = case.learner(estimator)
    identities = [id(p) for p in case.model.parameters()]
    before = snapshot(case)
    learner.hypergradient(batch(1), batch(2))
    assert_same(snapshot(case), before)
    assert [id(p) for p in case.model.parameters()] == identities
    assert learner.weights.raw.grad is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("estimator", [Direct(), *LOOKING_AHEAD], ids=repr)
def test_a_failing_loss_changes_nothing(estimator):
    def failing(model, weights, data):
        model(data[0])
        torch.rand(3)
        raise KeyError("label")

    case = Case(net(nn.Dropout(0.4), nn.BatchNorm1d(5)))
    before = snapshot(case)
    with pytest.raises(KeyError):
        case.learner(estimator, train_loss=failing, val_loss=failing).hypergradient(batch(1), batch(2))
    assert_same(snapshot(case), before)


@ahead
def test_dropout_draws_the_mask_of_the_coming_step(estimator):
    case = Case(net(nn.Dropout(0.5)))
    expected = case.finite_difference([batch(1)] * estimator.steps)
    close(case.g(estimator), expected)
    torch.manual_seed(10)
    other = case.learner(estimator).hypergradient(batch(1), batch(2))
    assert not torch.allclose(other, expected, rtol=1e-2)


@ahead
def test_frozen_and_unused_parameters(estimator):
    model = net()
    model[0].weight.requires_grad_(False)
    model.register_parameter("unused", nn.Parameter(torch.ones(3, dtype=torch.float64)))
    check(Case(model, OPTIMIZERS["adamw"]), estimator)


@ahead
def test_the_optimizer_may_hold_a_part_of_the_model_in_groups(estimator):
    def groups(model):
        return [{"params": [model[2].bias], "lr": 0.1}, {"params": [model[2].weight, model[0].bias]}]

    check(Case(net(), OPTIMIZERS["adam"], parameters=groups), estimator)


@ahead
def test_parameters_frozen_or_freed_after_the_learner_was_built(estimator):
    case = Case(net())
    learner = case.learner(estimator)
    for frozen in (True, False):
        case.model[0].weight.requires_grad_(not frozen)
        expected = case.finite_difference([batch(1)] * estimator.steps)
        torch.manual_seed(9)
        close(learner.hypergradient(batch(1), batch(2)), expected)


def test_a_parameter_in_a_plain_list_is_refused():
    model = net()
    model.hidden = [nn.Parameter(torch.zeros(2, 7))]
    with pytest.raises(UnsupportedError, match=r"shape \(2, 7\).*plain list.*nn.ParameterList"):
        Case(model, parameters=lambda m: [*m.parameters(), *m.hidden], warm=0).learner()


@ahead
def test_a_loss_that_ignores_weights_is_refused(estimator):
    with pytest.raises(UnsupportedError, match="neither train_loss nor val_loss depends on `weights`"):
        Case(net()).g(estimator, train_loss=plain)


def test_direct_needs_a_val_loss_with_weights():
    with pytest.raises(UnsupportedError, match=r"Direct.*OneStep"):
        Case(net()).g(Direct())


def test_a_val_loss_that_depends_on_nothing_is_refused():
    with pytest.raises(UnsupportedError, match="val_loss depends neither"):
        Case(net()).g(OneStep(), val_loss=lambda m, w, d: d[0].sum())


@pytest.mark.parametrize("estimator", [Direct(), *LOOKING_AHEAD], ids=repr)
@pytest.mark.parametrize(
    ("which", "loss", "came"),
    [
        ("train_loss", problems.task_losses, r"shape \(3,\)"),
        ("val_loss", problems.task_losses, r"shape \(3,\)"),
        ("val_loss", lambda *a: weighted(*a).item(), "float"),
    ],
)
def test_a_loss_that_is_no_scalar_is_named(estimator, which, loss, came):
    if isinstance(estimator, Direct) and which == "train_loss":
        pytest.skip("Direct does not call it")

    def called(model, weights, data):
        return loss(model, weights, data) if loss is not problems.task_losses else loss(model, data)

    with pytest.raises(TypeError, match=rf"^{which}\(model, weights, batch\) must return a scalar.*{came}"):
        Case(net()).g(estimator, **{which: called})


class NoForwardMode(nn.Module):
    """Spectral norm in training normalises with `out=`, which forward mode does not know."""

    def __init__(self):
        super().__init__()
        self.inner = net(nn.utils.parametrizations.spectral_norm(nn.Linear(5, 5)))

    def forward(self, x):
        return self.inner(x)


def test_an_operation_without_forward_mode_is_differentiated_by_reverse_mode():
    case = Case(NoForwardMode())
    before = snapshot(case)
    for estimator in (OneStep(), Unrolled(1)):
        case.learner(estimator).hypergradient(batch(1), batch(2))
        assert_same(snapshot(case), before)
        check(case, estimator)
        before["rng"] = torch.get_rng_state()


@ahead
@pytest.mark.parametrize("options", [{"mode": "mean"}, {"mode": "sum"}, {"mode": "mean", "padding_idx": 7}], ids=repr)
def test_embedding_bag_which_has_neither_forward_mode_nor_second_derivatives(estimator, options):
    model = problems.Bag()
    model.bag = nn.EmbeddingBag(8, 5, **options).double()
    check(Case(model), estimator)


@pytest.mark.parametrize("mode", ["mean", "sum"])
@pytest.mark.parametrize("padding", [None, 2, -1])
@pytest.mark.parametrize("last", [True, False])
def test_a_composed_embedding_bag_is_that_of_torch(mode, padding, last):
    table, indices = torch.randn(6, 4), torch.tensor([1, 2, 5, 5, 2, 0, 3])
    offsets = torch.tensor([0, 2, 2, 5, 7] if last else [0, 2, 2, 5])
    options = {"mode": mode, "padding_idx": padding}
    matrix, weights = indices[:6].view(2, 3), torch.rand(7)
    calls = [
        lambda: nn.functional.embedding_bag(matrix, table, **options),
        lambda: nn.functional.embedding_bag(indices, table, offsets, include_last_offset=last, **options),
    ]
    if mode == "sum":
        calls.append(
            lambda: nn.functional.embedding_bag(
                indices, table, offsets, include_last_offset=last, per_sample_weights=weights, **options
            )
        )
    for call in calls:
        with Composed():
            composed = call()
        torch.testing.assert_close(composed, call())


class Distance(nn.Module):
    """The distances to three points that are learned: `cdist` has neither forward mode nor second derivatives."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.points = nn.Parameter(torch.randn(3, 4, dtype=torch.float64))

    def forward(self, x):
        return torch.cdist(x, self.points)


@pytest.mark.parametrize("estimator", [OneStep(tolerance=None), Unrolled(1), Unrolled(2)], ids=repr)
def test_an_operation_that_can_be_differentiated_once_only_is_refused_naming_what_works(estimator):
    case = Case(Distance())
    before = snapshot(case)
    with pytest.raises(UnsupportedError, match=r"train_loss.*without second derivatives.*cdist.*FiniteDifference"):
        case.learner(estimator).hypergradient(batch(1), batch(2))
    assert_same(snapshot(case), before)


@pytest.mark.parametrize("estimator", [OneStep(), FiniteDifference()], ids=repr)
def test_the_check_makes_up_for_second_derivatives_that_are_missing(estimator):
    case = Case(Distance())
    before = snapshot(case)
    learner = case.learner(estimator)
    torch.manual_seed(9)
    close(learner.hypergradient(batch(1), batch(2)), case.finite_difference())
    assert learner.certificate.certified
    before["rng"] = torch.get_rng_state()
    assert_same(snapshot(case), before)


class InputNorm(nn.Module):
    """BatchNorm of the inputs: its running statistics do not depend on θ."""

    def __init__(self):
        super().__init__()
        self.norm, self.inner = nn.BatchNorm1d(4, affine=False).double(), net()

    def forward(self, x):
        return self.inner(self.norm(x))


def test_unrolled_carries_batchnorm_statistics_from_step_to_step():
    case = Case(InputNorm())
    batches = [batch(1), batch(3)]
    close(case.g(Unrolled(2), StepBatches(batches)), case.finite_difference(batches))


@pytest.mark.parametrize("estimator", [OneStep(), Unrolled(1)], ids=repr)
def test_batchnorm_statistics_of_the_coming_step_are_used(estimator):
    check(Case(net(nn.BatchNorm1d(5))), estimator)


def test_a_loss_is_evaluated_in_another_dtype_than_the_models(model):
    """With θ, the frozen parameters and the buffers handed in; the model keeps its own."""
    model.float()
    next(model.parameters()).requires_grad_(False)
    problem = Case(model, OPTIMIZERS["adam"], warm=0).learner()._problem
    tensors = {**problem.parameters(), **problem.frozen()}
    assert tensors.keys() == dict(model.named_parameters()).keys()
    double = {name: p.double() for name, p in tensors.items()}
    buffers = {name: b.double() if b.is_floating_point() else b for name, b in problem.buffers().items()}
    torch.manual_seed(1)
    loss = problem.train_loss(double, buffers, problems.LAMBDA, batch(1))
    torch.manual_seed(1)
    with torch.no_grad():
        expected = weighted(problems.copied(model).double(), problems.LAMBDA, batch(1))
    assert loss.dtype == torch.float64
    assert abs(loss - expected).item() < 1e-12
    assert all(p.dtype == torch.float32 for p in model.parameters())
