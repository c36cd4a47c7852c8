"""Loss weights learned while a Lightning Trainer trains: three regression tasks on one trunk, one of them pure noise.

    pip install 'bilevel-hpo[lightning]'
    python examples/lightning_module.py

The first two tasks count: their validation loss decides how much each task may say. The third has nothing to teach.
A betty user would write two `ImplicitProblem`s instead, one for the network and one for λ, and hand them with the
dependencies u2l and l2u to an `Engine`, which takes the Trainer's place.
"""

import argparse
import contextlib
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bilevel_hpo import Budget, LossWeights
from bilevel_hpo.lightning import BilevelCallback

TASKS = ["sum", "difference", "noise"]


class MultiTask(lightning.LightningModule):
    """A trunk with one output per task; λ weighs the tasks in the training loss."""

    def __init__(self, weights: LossWeights, n_inputs: int, lr: float) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_inputs, 32), nn.Tanh(), nn.Linear(32, len(TASKS)))
        self.weights = weights
        self.lr = lr

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The same loss that the callback differentiates, at the present λ."""
        return train_loss(self, self.weights(), batch)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """The error that counts."""
        self.log("val_loss", val_loss(self, self.weights(), batch), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Steps on the network only: λ belongs to the callback."""
        return torch.optim.AdamW(self.net.parameters(), lr=self.lr)


def train_loss(module: MultiTask, lambda_: Tensor, batch: Sequence[Tensor]) -> Tensor:
    """Σ λ_t · MSE_t."""
    x, y = batch
    loss: Tensor = lambda_ @ (module.net(x) - y).square().mean(0)
    return loss


def val_loss(module: MultiTask, lambda_: Tensor, batch: Sequence[Tensor]) -> Tensor:
    """Mean MSE of the tasks that count."""
    x, y = batch
    loss: Tensor = (module.net(x) - y)[:, :2].square().mean()
    return loss


def synthetic(n: int, n_inputs: int, seed: int) -> TensorDataset:
    """x `[n, n_inputs]` and y `[n, 3]`; the first two tasks are made of the same two features."""
    truth = torch.Generator().manual_seed(0)
    directions = torch.randn(n_inputs, 2, generator=truth) / n_inputs**0.5
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, n_inputs, generator=draw)
    a, b = (x @ directions).tanh().unbind(1)
    y = torch.stack([a + b, a - b, torch.randn(n, generator=draw)], 1)
    y[:, :2] += 0.3 * torch.randn(n, 2, generator=draw)
    return TensorDataset(x, y)


def main(argv: Sequence[str] | None = None) -> LossWeights:
    """Train, and print λ."""
    parser = argparse.ArgumentParser(description="Learn loss weights inside a Lightning Trainer.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--outer-every", type=int, default=2, help="every n-th step is preceded by a step on λ")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="checkpoints and logs; left out, a directory that is deleted again")
    parser.add_argument("--verbose", action="store_true", help="Lightning's progress bar, log and messages")
    options = parser.parse_args(argv)

    if not options.verbose:
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")
    lightning.seed_everything(options.seed, verbose=options.verbose)
    train, val = synthetic(128, 16, seed=1), synthetic(128, 16, seed=2)
    val_batches = DataLoader(val, batch_size=32)
    weights = LossWeights(TASKS, constraint=Budget(total=3.0))
    callback = BilevelCallback(
        weights,
        train_loss,
        val_loss,
        val_batches,
        outer_every=options.outer_every,
        outer_optimizer=torch.optim.Adam(weights.parameters(), lr=0.05),
    )
    with contextlib.ExitStack() as stack:
        out = options.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trainer = lightning.Trainer(
            max_epochs=options.epochs,
            accelerator="cpu",
            default_root_dir=out,
            callbacks=[callback],
            logger=options.verbose,
            log_every_n_steps=4,
            enable_progress_bar=options.verbose,
            enable_model_summary=options.verbose,
        )
        module = MultiTask(weights, n_inputs=16, lr=0.01)
        trainer.fit(module, DataLoader(train, batch_size=32, shuffle=True), val_batches)
        print(f"validation loss of sum and difference: {trainer.callback_metrics['val_loss']:.3f}")
    print(f"learned λ after {callback.learner.outer_steps} outer steps:")
    for name, value in weights.to_series().items():
        print(f"  {name:10} {value:.2f}")
    return weights


if __name__ == "__main__":
    torch.set_num_threads(1)  # for so small a network, more only wait for each other
    main()
