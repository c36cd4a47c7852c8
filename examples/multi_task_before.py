"""Five regression tasks on one network with fixed loss weights: an ordinary PyTorch training loop.

Only the target matters. Two helpers are made of the same hidden features as the target and have cleaner labels; two
rivals are made of other features and have larger values. The shared trunk ends in two units, too few for everything.

Which loss weights are right? Belief says 1 for all; `--weights 1 0 0 0 0` trains the target alone. multi_task.py learns
them, and multi_task.diff is all that it changes.
"""

import argparse
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
"""Inputs `[B, 10]` and labels `[B, 5]`."""

TASKS = ["target", "helper A", "helper B", "rival A", "rival B"]
MIXTURES = torch.tensor([[1, 1, 0, 0], [1, 0.5, 0, 0], [0.5, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, -2]])
NOISE = torch.tensor([0.8, 0.2, 0.2, 0.2, 0.2])


def make_data() -> tuple[Batch, Batch, Batch]:
    """Data for training, validation and test; the labels of the test data are without noise."""
    directions = 0.3 * torch.randn(10, 4)

    def draw(n: int, noise: Tensor) -> Batch:
        x = torch.randn(n, 10)
        y = torch.sin(x @ directions) @ MIXTURES.T
        return x, y + noise * torch.randn(y.shape)

    return draw(300, NOISE), draw(200, NOISE), draw(2000, 0 * NOISE)


def make_model() -> nn.Module:
    """A shared trunk and one linear head per task."""
    trunk = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 2), nn.Tanh())
    heads = nn.Linear(2, len(TASKS))
    return nn.Sequential(trunk, heads)


def batches(data: Batch, size: int = 50) -> Iterator[Batch]:
    """One epoch of `data` in random order."""
    x, y = data
    for index in torch.randperm(len(x)).split(size):
        yield x[index], y[index]


def task_losses(model: nn.Module, batch: Batch) -> Tensor:
    """Mean squared error of each task, `[5]`."""
    x, y = batch
    return (model(x) - y).square().mean(0)


def train_loss(model: nn.Module, weights: Tensor, batch: Batch) -> Tensor:
    """The weighted sum of the task losses."""
    return weights @ task_losses(model, batch)


def target_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The loss that matters."""
    return task_losses(model, batch)[0]


def train(seed: int = 0, epochs: int = 60, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0)) -> dict[str, float]:
    """Train once; the loss weights in the end, and the target's error on validation and test data."""
    torch.manual_seed(seed)
    train_data, val_data, test_data = make_data()
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.3)
    loss_weights = torch.tensor(weights)

    for _ in range(epochs):
        for batch in batches(train_data):
            loss = train_loss(model, loss_weights, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    result = dict(zip(TASKS, loss_weights.tolist(), strict=True))
    with torch.no_grad():
        result["validation error"] = float(target_loss(model, val_data))
        result["test error"] = float(target_loss(model, test_data))
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the data, the model and the batches (default: 0)")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training data (default: 60)")
    parser.add_argument("--weights", type=float, nargs=5, default=[1.0] * 5, metavar="W", help="default: 1 1 1 1 1")
    torch.set_num_threads(1)  # for so small a network, more only wait for each other
    for name, value in train(**vars(parser.parse_args())).items():
        print(f"{name:>16}  {value:.3f}")
