"""A small multi-task problem for the tests of `BilevelCallback`, as functions, a LightningModule and a Trainer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from bilevel_hpo import Budget, LossWeights
from bilevel_hpo.lightning import BilevelCallback

N_INPUTS, N_TASKS = 6, 3
DIRECTIONS = torch.randn(N_INPUTS, N_TASKS - 1, generator=torch.Generator().manual_seed(5))


def batches(seed: int, n: int, size: int = 16) -> list[tuple[Tensor, Tensor]]:
    """n batches (x `[size, 6]`, y `[size, 3]`); the last task is noise."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n * size, N_INPUTS, generator=draw)
    y = torch.cat([(x @ DIRECTIONS).tanh(), torch.randn(n * size, 1, generator=draw)], 1)
    return list(zip(x.split(size), y.split(size), strict=True))


TRAIN, VAL = batches(seed=1, n=7), batches(seed=2, n=3)
_MAP_STYLE: Any = TRAIN
LOADER: "torch.utils.data.DataLoader[tuple[Tensor, Tensor]]" = torch.utils.data.DataLoader(_MAP_STYLE, batch_size=None)


def train_loss(module: Any, lambda_: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    return lambda_ @ (module.net(x) - y).square().mean(0)


def val_loss(module: Any, lambda_: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    return (module.net(x) - y)[:, :-1].square().mean()


class Module(lightning.LightningModule):
    def __init__(self, weights: LossWeights, optimizers: int = 1, automatic: bool = True, all_: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(N_INPUTS, 8), nn.Tanh(), nn.Linear(8, N_TASKS))
        self.weights = weights
        self.optimizers_wanted, self.automatic_optimization, self.all_ = optimizers, automatic, all_
        self.moved: list[Any] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return train_loss(self, self.weights(), batch)

    def configure_optimizers(self) -> Any:
        held = self if self.all_ else self.net
        return [torch.optim.AdamW(held.parameters(), lr=0.02) for _ in range(self.optimizers_wanted)]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        self.moved.append(batch)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)


def loss_weights() -> LossWeights:
    return LossWeights(["a", "b", "noise"], constraint=Budget(total=3.0))


def callback(weights: LossWeights, **options: Any) -> BilevelCallback:
    options.setdefault("val_batches", VAL)
    options.setdefault("outer_optimizer", torch.optim.Adam(weights.parameters(), lr=0.05))
    return BilevelCallback(weights, options.pop("train_loss", train_loss), val_loss, **options)


def trainer(path: Path, *callbacks: lightning.Callback, max_epochs: int = 1, **options: Any) -> lightning.Trainer:
    return lightning.Trainer(
        default_root_dir=path,
        max_epochs=max_epochs,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=options.pop("logger", False),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=options.pop("enable_checkpointing", False),
        **options,
    )


def same_parameters(one: nn.Module, other: nn.Module) -> None:
    for (name, p), q in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q), name


class Noisy(Module):
    """With dropout and batch norm."""

    def __init__(self, weights: LossWeights) -> None:
        super().__init__(weights)
        self.net = nn.Sequential(self.net[0], nn.BatchNorm1d(8), nn.Dropout(0.3), *list(self.net)[1:])


class Forgets(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return train_loss(self, torch.ones(3), batch)


class CallsItself(Module):
    """Its losses go through `forward` of the LightningModule."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return through_forward(self, self.weights(), batch)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def through_forward(module: Any, lambda_: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    return lambda_ @ (module(x) - y).square().mean(0)


def one_thread() -> Iterator[None]:
    """A fixture: for so small a network, more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
