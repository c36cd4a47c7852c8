import math
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call

from gate_model.data.batches import Batch
from gate_model.model import losses, mapping
from gate_model.model.gate import GATE
from gate_model.model.losses import DirectPathLoss, PathLoss, TrainLoss
from tests.gate_model import gate_cases, oracle

close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)
CASES = [(1, ()), (2, ()), (3, (1,)), (5, (0, 4)), (9, ()), (3, (0, 1, 2))]


class LossModule(torch.nn.Module):
    """The engine's way to run a loss on other parameters."""

    def __init__(self, model: GATE) -> None:
        super().__init__()
        self.model = model

    def forward(self, loss, weights, batch):
        return loss(self.model, weights, batch)


def call(model: GATE, params: dict[str, Tensor], loss, weights: Tensor, batch: Batch) -> Tensor:
    torch.manual_seed(1)
    named = {f"model.{name}": p for name, p in params.items()}
    return functional_call(LossModule(model), named, (loss, weights, batch))


def points(model: GATE, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    z = model.embed(batch.x)
    z_t = model.encode(z)
    return z, z_t, model.to_manifold(z_t)


@pytest.fixture(params=CASES, ids=lambda case: f"T{case[0]}-unlabelled{case[1]}")
def case(request):
    n_tasks, unlabelled = request.param
    return gate_cases.gate(n_tasks), gate_cases.weights(n_tasks), gate_cases.batch(n_tasks, unlabelled=unlabelled)


def literal(model: GATE, weights: Tensor, batch: Batch, loss: TrainLoss) -> Tensor:
    others = max(model.n_tasks - 1, 1)
    c = 1 / others if loss.mapping == "mean" else 1.0
    share = 1 / others if (loss.geometry or loss.mapping) == "mean" else 1.0
    torch.manual_seed(1)
    return (
        oracle.weighted_paths(model, weights, batch, c, relative=loss.relative)
        + loss.alpha * oracle.autoencoder(model, batch)
        + loss.beta * share * oracle.consistency(model, batch)
        + loss.delta * share * oracle.distance(model, batch, loss.perturbations, loss.epsilon)
    )


def gradients(value: Tensor, model: GATE) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(model.parameters()), allow_unused=True, materialize_grads=True))


def test_path_matrix_and_direct_losses_equal_the_double_loop(case):
    model, _, batch = case
    want = torch.stack([torch.stack(row) for row in oracle.paths(model, batch)])
    close(losses.path_matrix(model, batch), want)
    close(losses.direct_losses(model, batch), want.diagonal())


def test_geometric_losses_equal_the_explicit_pair_sums(case):
    model, _, batch = case
    _, z_t, m = points(model, batch)
    close(losses.autoencoder(model, z_t, m), oracle.autoencoder(model, batch))
    close(losses.consistency(m), oracle.consistency(model, batch))


@pytest.mark.parametrize("perturbations", [1, 2, 3])
def test_distance_equals_the_explicit_pair_sum(case, perturbations):
    model, _, batch = case
    z, _, m = points(model, batch)
    torch.manual_seed(1)
    got = losses.distance(model, z, m, perturbations, 0.3)
    torch.manual_seed(1)
    close(got, oracle.distance(model, batch, perturbations, 0.3))


def test_the_logarithm_is_zero_where_nothing_is_measured_and_hides_no_nan():
    found = mapping.logarithm(torch.tensor([0.0, 1.0, torch.nan, torch.inf], dtype=torch.float64))
    assert found[0] == 0
    assert found[1] == pytest.approx(math.log(1.001))
    assert found[2].isnan()
    assert found[3].isinf()


def test_distance_has_a_gradient_where_nothing_is_displaced():
    model = gate_cases.gate(3)
    z = torch.randn(2, model.d, dtype=torch.float64, requires_grad=True)
    # so small a perturbation is rounded away, as any is where z is large or all units are saturated
    value = losses.distance(model, z, model.to_manifold(model.encode(z)), epsilon=1e-300)
    (of_z,) = torch.autograd.grad(value, z)
    assert value == 0
    assert bool((of_z == 0).all())


@pytest.mark.parametrize("loss", [
    TrainLoss(),
    TrainLoss("sum", alpha=0.7, beta=0.3, delta=0.4, perturbations=3, epsilon=0.2),
    TrainLoss("sum", geometry="mean", beta=0.5),
    TrainLoss("mean", alpha=0, beta=0, delta=0),
    TrainLoss("mean", relative=True),
    TrainLoss("sum", geometry="mean", relative=True),
], ids=repr)  # fmt: skip
def test_train_loss_and_its_gradient_equal_the_double_loop(case, loss):
    model, weights, batch = case
    torch.manual_seed(1)
    got, want = loss(model, weights, batch), literal(model, weights, batch, loss)
    close(got, want)
    for g, w in zip(gradients(got, model), gradients(want, model), strict=True):
        close(g, w)


@pytest.mark.parametrize("mapping_rule", ["mean", "sum"])
def test_validation_losses_equal_the_double_loop(case, mapping_rule):
    model, weights, batch = case
    c = 1 / max(model.n_tasks - 1, 1) if mapping_rule == "mean" else 1.0
    close(PathLoss(mapping_rule)(model, weights, batch), oracle.weighted_paths(model, weights, batch, c))
    eye = torch.eye(model.n_tasks, dtype=torch.float64)
    for loss in (DirectPathLoss(), DirectPathLoss(relative=True)):
        want = oracle.weighted_paths(model, eye, batch, c, relative=loss.relative)
        close(loss(model, weights, batch), want)


def test_gradient_in_the_weights_is_the_path_matrix(case):
    model, weights, batch = case
    weights.requires_grad_()
    (got,) = torch.autograd.grad(PathLoss("sum")(model, weights, batch), weights)
    close(got, losses.path_matrix(model, batch).detach())


def test_a_task_without_labels_contributes_exactly_zero():
    model, batch = gate_cases.gate(3), gate_cases.batch(3, unlabelled=(1,))
    matrix = losses.path_matrix(model, batch)
    assert torch.equal(matrix[1], torch.zeros(3, dtype=torch.float64))
    head = model.head.layers[0].weight
    (gradient,) = torch.autograd.grad(PathLoss()(model, gate_cases.weights(3), batch), head)
    assert torch.equal(gradient[1], torch.zeros_like(gradient[1]))
    assert gradient[0].abs().min() > 0


def test_missing_labels_are_never_read():
    model, batch, weights = gate_cases.gate(3), gate_cases.batch(3), gate_cases.weights(3)
    spoilt = batch._replace(y=torch.where(batch.mask, batch.y, torch.nan))
    close(PathLoss()(model, weights, spoilt), PathLoss()(model, weights, batch))
    got, want = (gradients(PathLoss()(model, weights, b), model) for b in (spoilt, batch))
    for g, w in zip(got, want, strict=True):
        close(g, w)


def test_permuting_the_tasks_permutes_everything():
    model, batch, weights = gate_cases.gate(4), gate_cases.batch(4), gate_cases.weights(4)
    order = torch.tensor([2, 0, 3, 1])
    other, moved = gate_cases.permuted_gate(model, order), gate_cases.permuted_batch(batch, order)
    close(losses.path_matrix(other, moved), losses.path_matrix(model, batch)[order][:, order])
    values = []
    for m, w, b in ((model, weights, batch), (other, weights[order][:, order], moved)):
        torch.manual_seed(1)
        values.append(TrainLoss()(m, w, b))
    close(values[0], values[1])


@pytest.mark.parametrize(
    "loss", [TrainLoss(perturbations=2), TrainLoss(relative=True), PathLoss(), DirectPathLoss()], ids=repr
)
def test_forward_mode_equals_the_reverse_mode_directional_derivative(case, loss):
    model, weights, batch = case
    params = {name: p.detach() for name, p in model.named_parameters()}
    torch.manual_seed(2)
    direction = {name: torch.randn_like(p) for name, p in params.items()}
    with forward_ad.dual_level():
        dual = {name: forward_ad.make_dual(p, direction[name]) for name, p in params.items()}
        tangent = forward_ad.unpack_dual(call(model, dual, loss, weights, batch)).tangent
    torch.manual_seed(1)
    found = gradients(loss(model, weights, batch), model)
    close(tangent, sum((g * v).sum() for g, v in zip(found, direction.values(), strict=True)))


def test_the_weights_gradient_of_a_tangent_is_the_mixed_derivative():
    """What the one-step estimator asks for: ∂/∂W of the derivative of L_train along u, by two orders of work."""
    model, batch, weights = gate_cases.gate(3), gate_cases.batch(3, unlabelled=(2,)), gate_cases.weights(3)
    weights.requires_grad_()
    params = {name: p.detach() for name, p in model.named_parameters()}
    torch.manual_seed(2)
    direction = {name: torch.randn_like(p) for name, p in params.items()}
    with forward_ad.dual_level():
        dual = {name: forward_ad.make_dual(p, direction[name]) for name, p in params.items()}
        tangent = forward_ad.unpack_dual(call(model, dual, TrainLoss(), weights, batch)).tangent
        (forward,) = torch.autograd.grad(tangent, weights)
    live = {name: p.clone().requires_grad_() for name, p in params.items()}
    first = torch.autograd.grad(call(model, live, TrainLoss(), weights, batch), list(live.values()), create_graph=True)
    along = sum((g * v).sum() for g, v in zip(first, direction.values(), strict=True))
    close(forward, torch.autograd.grad(along, weights)[0])


def test_gradient_and_second_gradient_by_finite_differences():
    model, batch, weights = gate_cases.gate(3), gate_cases.batch(3, n_molecules=4), gate_cases.weights(3)
    names = ["encoder.layers.1.bias", "phi.layers.1.weight", "psi.layers.0.bias", "head.layers.1.weight"]
    params = {name: p.detach() for name, p in model.named_parameters()}

    def value(w: Tensor, *tensors: Tensor) -> Tensor:
        return call(model, {**params, **dict(zip(names, tensors, strict=True))}, TrainLoss(beta=0.5), w, batch)

    live = [params[name].clone().requires_grad_() for name in names]
    for w in (weights, weights.clone().requires_grad_()):
        assert torch.autograd.gradcheck(value, (w, *live))
        assert torch.autograd.gradgradcheck(value, (w, *live))


def test_constant_and_differentiable_weights_give_the_same_second_derivatives():
    """With constant weights the first derivative comes from the fused pass; the second must not notice."""
    model, batch, weights = gate_cases.gate(4), gate_cases.batch(4, unlabelled=(2,)), gate_cases.weights(4)
    results = []
    for w in (weights, weights.clone().requires_grad_()):
        first = torch.autograd.grad(PathLoss()(model, w, batch), list(model.parameters()), create_graph=True)
        results.append(gradients(sum(g.square().sum() for g in first), model))
    for a, b in zip(*results, strict=True):
        close(a, b)


def test_torch_func_transforms_work():
    model, batch, weights = gate_cases.gate(3), gate_cases.batch(3), gate_cases.weights(3)
    params = {name: p.detach() for name, p in model.named_parameters()}
    want = gradients(PathLoss()(model, weights, batch), model)
    got = torch.func.grad(lambda p: call(model, p, PathLoss(), weights, batch))(params)
    for g, w in zip(got.values(), want, strict=True):
        close(g, w)
    in_weights = torch.func.grad(lambda w: call(model, params, PathLoss("sum"), w, batch))
    zero_off_diagonal = torch.eye(3, dtype=torch.float64)
    close(in_weights(zero_off_diagonal), losses.path_matrix(model, batch).detach())
    _, tangent = torch.func.jvp(
        lambda w: call(model, params, PathLoss("sum"), w, batch), (zero_off_diagonal,), (weights,)
    )
    close(tangent, (weights * losses.path_matrix(model, batch)).sum().detach())


@pytest.mark.parametrize("density", [0.0, 0.3, 0.7])
def test_leaving_out_pairs_of_weight_zero_is_exact(case, density):
    model, weights, batch = case
    torch.manual_seed(3)
    weights = torch.where(torch.rand(weights.shape) < density, weights, 0)
    got, want = PathLoss()(model, weights, batch), PathLoss()(model, weights.clone().requires_grad_(), batch)
    close(got, want)
    for g, w in zip(gradients(got, model), gradients(want, model), strict=True):
        close(g, w)
    with torch.no_grad():
        close(PathLoss()(model, weights, batch), want.detach())


def test_relative_losses_of_weight_zero_are_left_out_and_those_of_learned_weights_are_not():
    model, batch, loss = gate_cases.gate(3), gate_cases.batch(3), TrainLoss("sum", 0, 0, 0, relative=True)
    weights = torch.eye(3, dtype=torch.float64, requires_grad=True)
    value = loss(model, weights, batch)
    close(value.detach(), loss(model, weights.detach(), batch).detach())
    value.backward()
    close(weights.grad, torch.log(losses.path_matrix(model, batch).detach() + 0.001))
    only = torch.tensor([[False, True, False], [False] * 3, [False] * 3])
    some = torch.ones(3, 3, dtype=torch.float64)
    kept = torch.eye(3, dtype=torch.float64) + only
    close(loss(model, some, batch, only), loss(model, kept, batch))


def test_pairs_that_are_left_out_cost_nothing(monkeypatch):
    model, batch = gate_cases.gate(3), gate_cases.batch(3)
    asked: list[int] = []
    real = mapping._block_gradient
    monkeypatch.setattr(
        mapping, "_block_gradient", lambda block, *a, **k: asked.append(block.target) or real(block, *a, **k)
    )
    pairs = torch.zeros(3, 3, dtype=torch.bool)
    weights = torch.ones(3, 3, dtype=torch.float64)
    TrainLoss()(model, weights, batch, pairs).backward()
    assert asked == []
    pairs[1, 2] = True
    TrainLoss()(model, weights, batch, pairs).backward()
    assert asked == [1]


def test_weights_that_are_learned_keep_their_gradient_at_zero():
    model, batch = gate_cases.gate(3), gate_cases.batch(3)
    weights = torch.eye(3, dtype=torch.float64, requires_grad=True)
    PathLoss("sum")(model, weights, batch).backward()
    close(weights.grad, losses.path_matrix(model, batch).detach())


def test_float32_stays_close_to_float64():
    model, batch, weights = gate_cases.gate(5), gate_cases.batch(5), gate_cases.weights(5)
    want = PathLoss()(model, weights, batch)
    single = batch._replace(x=batch.x.float(), y=batch.y.float())
    torch.testing.assert_close(PathLoss()(model.float(), weights.float(), single), want.float(), rtol=1e-5, atol=1e-6)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="mapping='median': it must be 'mean' or 'sum'"):
        TrainLoss(mapping="median")
    with pytest.raises(ValueError, match="geometry='max'"):
        TrainLoss(geometry="max")
    with pytest.raises(ValueError, match="perturbations must be at least 1; got 0"):
        TrainLoss(perturbations=0)
    with pytest.raises(ValueError, match="epsilon must be positive; got 0"):
        TrainLoss(epsilon=0)
    with pytest.raises(ValueError, match=r"weights have shape \(2, 2\); they must have shape \[3, 3\]"):
        PathLoss()(gate_cases.gate(3), torch.eye(2), gate_cases.batch(3))
    with pytest.raises(ValueError, match="labels of 1 tasks; the model has 3"):
        DirectPathLoss()(gate_cases.gate(3), torch.eye(3), gate_cases.batch(1))
