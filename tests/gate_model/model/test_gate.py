import math

import pytest
import torch
from torch import nn

from gate_model.model.feature_mlp import FeatureMLP
from gate_model.model.gate import GATE
from gate_model.model.modules import (
    StackedLinear,
    StackedMLP,
    StackedResidual,
    apply_residual_chain,
    per_task,
    residual_chain,
)
from tests.gate_model import gate_cases, oracle


def test_stacked_linear_is_one_linear_per_task():
    layer = StackedLinear(3, 4, 5).double()
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    for t in range(3):
        linear = nn.Linear(4, 5).double()
        linear.weight.data, linear.bias.data = layer.weight[t].T, layer.bias[t, 0]
        torch.testing.assert_close(layer(x)[t], linear(x[t]))


def test_initial_parameters_are_drawn_as_by_linear():
    torch.manual_seed(0)
    layer, linear = StackedLinear(50, 16, 40), nn.Linear(16, 2000)
    for stacked, ours in ((layer.weight, linear.weight), (layer.bias, linear.bias)):
        assert stacked.abs().max() <= 1 / math.sqrt(16)
        assert stacked.std().item() == pytest.approx(ours.std().item(), rel=0.05)


@pytest.mark.parametrize("second", [(4, 1), (4, 5, 1), (4, 5, 6, 2)])
def test_the_joined_layers_are_the_composition(second):
    first, last = StackedResidual(3, 4).double(), StackedMLP(3, second).double()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.normal_()
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    want = last(first(x))
    for t, layers in enumerate(per_task(residual_chain(first, last))):
        torch.testing.assert_close(apply_residual_chain(layers, x[t]), want[t], rtol=1e-12, atol=1e-12)
        assert apply_residual_chain(layers, x[t, :0]).shape == (0, second[-1])


def test_shared_rows_are_the_same_rows_for_every_task():
    mlp = StackedMLP(3, (4, 5, 2)).double()
    x = torch.randn(6, 4, dtype=torch.float64)
    torch.testing.assert_close(mlp(x), mlp(x.expand(3, 6, 4)), rtol=1e-12, atol=1e-12)


def test_a_residual_map_starts_as_the_identity_and_can_leave_it():
    residual, x = StackedResidual(2, 4).double(), torch.randn(2, 6, 4, dtype=torch.float64)
    assert torch.equal(residual(x), x)
    residual(x).square().sum().backward()
    assert residual.layers[-1].weight.grad.abs().min() > 0


def test_model_is_the_papers_chain_of_networks():
    model, batch = gate_cases.gate(4), gate_cases.batch(4)
    z = model.embed(batch.x)
    z_t = model.encode(z)
    m = model.to_manifold(z_t)
    assert z.shape == (7, 4)
    assert z_t.shape == m.shape == model.from_manifold(m).shape == (4, 7, 3)
    assert model(batch.x).shape == (7, 4)
    for t in range(4):
        torch.testing.assert_close(z_t[t], oracle.network(model.encoder, t, z))
        torch.testing.assert_close(m[t], oracle.network(model.phi, t, z_t[t]))
        torch.testing.assert_close(model.from_manifold(m)[t], oracle.network(model.psi, t, m[t]))
        torch.testing.assert_close(model(batch.x)[:, t], oracle.network(model.head, t, z_t[t])[:, 0])


def test_permuting_the_tasks_permutes_the_predictions():
    model, batch, order = gate_cases.gate(4), gate_cases.batch(4), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(gate_cases.permuted_gate(model, order)(batch.x), model(batch.x)[:, order])


def test_feature_mlp_drops_only_in_training():
    torch.manual_seed(0)
    embedding = FeatureMLP(10, hidden=32, d=6, dropout=0.5)
    x = torch.randn(4, 10)
    assert embedding(x).shape == (4, 6)
    assert not torch.equal(embedding(x), embedding(x))
    embedding.eval()
    assert torch.equal(embedding(x), embedding(x))


def test_an_embedding_of_another_width_is_refused():
    model = GATE(nn.Linear(5, 7), n_tasks=2, d=4)
    with pytest.raises(ValueError, match=r"\(3, 7\); it must be \[B, 4\]"):
        model(torch.randn(3, 5))


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="n_tasks of at least 1; got 0"):
        StackedLinear(0, 2, 2)
    with pytest.raises(ValueError, match=r"widths=\[4\]"):
        StackedMLP(2, (4,))
