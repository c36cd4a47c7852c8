"""What is measured: networks × optimizers × what λ is, each as one training."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from accuracy.networks import EXAMPLES, NETWORKS, Network, cut
from bilevel_hpo import Box, Budget, LossWeights, Positive, TransferRatios
from gate_model.data.batches import Batch
from gate_model.model.losses import DirectPathLoss, TrainLoss

__all__ = ["OPTIMIZERS", "STATES", "Labelled", "Setting", "Training", "begin", "settings"]

STATES = (0, 1, 2, 3, 10, 40, 150, 400, 1000)
"""Steps taken before a state."""

BATCH, N_TRAIN = 64, 384

Loss = Callable[[nn.Module, Tensor, Any], Tensor]

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD .05": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "SGD .01": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "Adam 1e-4": lambda p: torch.optim.Adam(p, lr=1e-4),
    "Adam 1e-3": lambda p: torch.optim.Adam(p, lr=1e-3),
    "Adam 1e-2": lambda p: torch.optim.Adam(p, lr=1e-2),
    "AdamW 1e-4": lambda p: torch.optim.AdamW(p, lr=1e-4),
    "AdamW 1e-3": lambda p: torch.optim.AdamW(p, lr=1e-3),
    "AdamW 1e-2": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "RMSprop 1e-4": lambda p: torch.optim.RMSprop(p, lr=1e-4),
    "RMSprop 1e-3": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    "NAdam 1e-3": lambda p: torch.optim.NAdam(p, lr=1e-3),
    "Adagrad 1e-2": lambda p: torch.optim.Adagrad(p, lr=1e-2),
}


class Labelled(NamedTuple):
    """A batch of B examples."""

    x: Any
    y: Tensor
    """Labels `[B, tasks]`."""
    rows: Tensor
    """Numbers of the examples `[B]`."""


@dataclass(frozen=True)
class Setting:
    """One training."""

    network: str
    optimizer: str
    role: str
    """What λ is: "loss weights", "decay" or "example weights"."""
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.network} / {self.optimizer} / {self.role} / {self.seed}"


@dataclass(frozen=True)
class Training:
    """All that a learner needs, ready for the first step."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    weights: nn.Module
    train_loss: Loss
    lambda_terms: Loss | None
    val_loss: Loss
    batches: Iterator[tuple[Any, Any]]
    """A train and a validation batch for every step."""


def settings(seeds: int = 1) -> list[Setting]:
    """Every network with every optimizer: λ as loss weights, and in turn as a decay or as example weights."""
    found = []
    for i, (name, network) in enumerate(NETWORKS.items()):
        for j, optimizer in enumerate(OPTIMIZERS):
            second = "decay" if network.gate_tasks or (i + j) % 2 else "example weights"
            found += [
                Setting(name, optimizer, role, seed) for role in ("loss weights", second) for seed in range(seeds)
            ]
    return found


def begin(setting: Setting) -> Training:
    """The training of `setting` before its first step; the same each time."""
    network = NETWORKS[setting.network]
    torch.manual_seed(1000 * setting.seed + list(NETWORKS).index(setting.network))
    inputs, teacher = network.inputs(), network.build()
    with torch.no_grad():
        clean = teacher(cut(inputs, torch.arange(EXAMPLES)))
        y = (clean - clean.mean(0)) / clean.std(0) + 0.3 * torch.randn_like(clean)
    model = network.build()
    problem = _of_gate if network.gate_tasks else _of_network
    weights, train_loss, lambda_terms, val_loss = problem(setting.role, network, model)
    batches = _batches(network, inputs, y)
    optimizer = OPTIMIZERS[setting.optimizer](model.parameters())
    return Training(model, optimizer, weights, train_loss, lambda_terms, val_loss, batches)


def _batches(network: Network, inputs: Any, y: Tensor) -> Iterator[tuple[Any, Any]]:
    """Drawn by a generator of their own, so that the loss' own draws change nothing."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(y.shape, generator=generator) < 0.3

    def batch(rows: Tensor) -> Any:
        if not network.gate_tasks:
            return Labelled(cut(inputs, rows), y[rows], rows)
        return Batch(inputs[rows], torch.where(mask[rows], y[rows], 0), mask[rows])

    while True:
        train = torch.randperm(N_TRAIN, generator=generator)[:BATCH]
        val = N_TRAIN + torch.randperm(EXAMPLES - N_TRAIN, generator=generator)[:BATCH]
        yield batch(train), batch(val)


_Problem = tuple[nn.Module, Loss, Loss | None, Loss]
"""λ, L_train, its terms with λ, L_val."""


def _of_network(role: str, network: Network, model: nn.Module) -> _Problem:
    def errors(model: nn.Module, batch: Labelled) -> Tensor:
        return (model(batch.x) - batch.y).square()

    def val_loss(model: nn.Module, _: Tensor, batch: Labelled) -> Tensor:
        return errors(model, batch).mean()

    if role == "loss weights":
        weights = LossWeights(["0", "1", "2", "3"], init=[0.4, 0.3, 0.2, 0.1], constraint=Budget())
        return weights, lambda model, lambda_, b: lambda_ @ errors(model, b).mean(0), None, val_loss
    if role == "decay":
        loss = lambda model, lambda_, b: errors(model, b).mean() + _decay(model, lambda_)  # noqa: E731
        return _decays(), loss, lambda model, lambda_, _: _decay(model, lambda_), val_loss
    weights = LossWeights([str(i) for i in range(EXAMPLES)], init=0.5, constraint=Box(0, 1))
    return weights, lambda model, lambda_, b: (lambda_[b.rows] * errors(model, b).mean(1)).mean(), None, val_loss


def _of_gate(role: str, network: Network, model: nn.Module) -> _Problem:
    loss, val_loss = TrainLoss(mapping="sum", geometry="mean", relative=True), DirectPathLoss(relative=True)
    ratios = TransferRatios([str(i) for i in range(network.gate_tasks)], constraint=Budget())
    if role == "loss weights":
        return ratios, loss, loss.lambda_terms, val_loss
    fixed = ratios().detach()

    def decayed(model: nn.Module, lambda_: Tensor, batch: Batch) -> Tensor:
        return loss(model, fixed.to(lambda_.dtype), batch) + _decay(model, lambda_)

    return _decays(), decayed, lambda model, lambda_, _: _decay(model, lambda_), val_loss


def _decays() -> LossWeights:
    return LossWeights(["matrices", "vectors"], init=1e-3, constraint=Positive())


def _decay(model: nn.Module, lambda_: Tensor) -> Tensor:
    """λ[0]·‖matrices‖² + λ[1]·‖vectors‖²."""
    squares = [(p.ndim < 2, p.square().sum()) for p in model.parameters()]
    total = torch.stack([sum(s for vector, s in squares if vector == which) for which in (False, True)])
    return lambda_ @ total
