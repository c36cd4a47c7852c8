"""Small GATE networks and batches in float64 for the tests."""

import torch
from torch import Tensor, nn

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.modules import StackedMLP

FEATURES, D, K = 5, 4, 3


def gate(n_tasks: int, seed: int = 0) -> GATE:
    torch.manual_seed(seed)
    embedding = nn.Sequential(nn.Linear(FEATURES, 6), nn.Tanh(), nn.Linear(6, D))
    model = GATE(embedding, n_tasks, d=D, k=K, hidden=5).double()
    with torch.no_grad():  # maps that start as the identity would hide what is wrong with them
        for stacked in (model.phi, model.psi):
            for parameter in stacked.parameters():
                parameter.uniform_(-0.6, 0.6)
    return model


def batch(n_tasks: int, n_molecules: int = 7, seed: int = 0, unlabelled: tuple[int, ...] = ()) -> Batch:
    """About half of the labels present; the tasks in `unlabelled` have none, all others at least one."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(n_molecules, n_tasks, generator=generator) < 0.5
    mask[torch.arange(n_tasks) % n_molecules, torch.arange(n_tasks)] = True
    mask[:, list(unlabelled)] = False
    y = torch.randn(n_molecules, n_tasks, generator=generator, dtype=torch.float64)
    x = torch.randn(n_molecules, FEATURES, generator=generator, dtype=torch.float64)
    return Batch(x, torch.where(mask, y, 0), mask)


def weights(n_tasks: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n_tasks, n_tasks, generator=generator, dtype=torch.float64) + 0.1


def permuted_gate(model: GATE, order: Tensor) -> GATE:
    """The same model with task order[i] in place i."""
    other = gate(model.n_tasks)
    other.load_state_dict(model.state_dict())
    for stacked in (other.encoder, other.phi, other.psi, other.head):
        assert isinstance(stacked, StackedMLP)
        for p in stacked.parameters():
            p.data = p.data[order]
    return other


def permuted_batch(b: Batch, order: Tensor) -> Batch:
    return Batch(b.x, b.y[:, order], b.mask[:, order])
