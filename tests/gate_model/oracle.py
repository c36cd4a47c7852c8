"""Every loss of GATE written out pair by pair with explicit matrix products; slow and literal."""

import torch
from torch import Tensor

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.modules import StackedMLP, StackedResidual


def network(stacked: StackedMLP, t: int, x: Tensor) -> Tensor:
    """Task t's network on rows `[N, in]`."""
    layers, start = list(stacked.layers), x
    for i, layer in enumerate(layers):
        assert isinstance(layer.weight, Tensor)
        assert isinstance(layer.bias, Tensor)
        x = x @ layer.weight[t] + layer.bias[t, 0]
        if i + 1 < len(layers):
            x = x * torch.sigmoid(x)
    return start + x if isinstance(stacked, StackedResidual) else x


def mse(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2).sum() / a.numel()


def placed(model: GATE, z: Tensor, t: int) -> Tensor:
    return network(model.phi, t, network(model.encoder, t, z))


def paths(model: GATE, batch: Batch) -> list[list[Tensor]]:
    """P[t][s]; 0 for a target without labels."""
    z = model.embedding(batch.x)
    matrix = []
    for t in range(model.n_tasks):
        rows = [i for i in range(len(batch.y)) if batch.mask[i, t]]
        row = []
        for s in range(model.n_tasks):
            if not rows:
                row.append(z.sum() * 0)
                continue
            z_t = network(model.encoder, s, z[rows])
            if s != t:
                z_t = network(model.psi, t, network(model.phi, s, z_t))
            row.append(mse(network(model.head, t, z_t)[:, 0], batch.y[rows, t]))
        matrix.append(row)
    return matrix


def autoencoder(model: GATE, batch: Batch) -> Tensor:
    z = model.embedding(batch.x)
    total = z.new_zeros(())
    for t in range(model.n_tasks):
        z_t = network(model.encoder, t, z)
        total = total + mse(z_t, network(model.psi, t, network(model.phi, t, z_t)))
    return total


def consistency(model: GATE, batch: Batch) -> Tensor:
    z = model.embedding(batch.x)
    total = z.new_zeros(())
    for t in range(model.n_tasks):
        for s in range(model.n_tasks):
            if s != t:
                total = total + mse(placed(model, z, t), placed(model, z, s))
    return total


def distance(model: GATE, batch: Batch, perturbations: int, epsilon: float) -> Tensor:
    """Draws its noise as the stacked implementation documents it."""
    z = model.embedding(batch.x)
    total = z.new_zeros(())
    for _ in range(perturbations):
        z_p = z + epsilon * torch.randn(z.shape, dtype=z.dtype)
        moved = [((placed(model, z, t) - placed(model, z_p, t)) ** 2).sum(1).sqrt() for t in range(model.n_tasks)]
        for t in range(model.n_tasks):
            for s in range(model.n_tasks):
                if s != t:
                    total = total + mse(moved[t], moved[s])
    return total / perturbations


def weighted_paths(model: GATE, weights: Tensor, batch: Batch, c: float, *, relative: bool = False) -> Tensor:
    total = weights.new_zeros(())
    for t, row in enumerate(paths(model, batch)):
        for s, loss in enumerate(row):
            value = torch.log(loss + 0.001) if relative and batch.mask[:, t].any() else loss
            total = total + (1 if s == t else c) * weights[t, s] * value
    return total
