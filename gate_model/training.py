"""One training of GATE: prepared data and a method in, a trained model and its numbers out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bilevel_hpo import BilevelLearner
from gate_model.data.batches import ExchangingBatches
from gate_model.data.prepared import PreparedData
from gate_model.embeddings import FeatureMLP
from gate_model.losses import DirectPathLoss
from gate_model.methods import Learned, Method
from gate_model.model import GATE
from gate_model.runs import read_checkpoint, write_checkpoint

__all__ = ["Progress", "Settings", "Trained", "build_model", "predict", "resolve_device", "rmse", "train"]

Progress = Callable[[int, int, float], None]
"""Called after every epoch with (epoch, epochs, validation RMSE)."""


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of a training. The paper prints none of them: all are our own choice."""

    epochs: int = 30
    batch_size: int = 256
    lr: float = 4e-3
    weight_decay: float = 1e-4
    embedding_hidden: int = 128
    d: int = 64
    k: int = 32
    hidden: int = 64
    dropout: float = 0.1
    exchange: float = 0.2
    """Share of the validation molecules that changes places with train molecules between epochs."""
    outer_every: int = 4
    """Inner steps per outer step."""


@dataclass(frozen=True)
class Trained:
    """What one training leaves behind."""

    model: GATE
    ratios: Tensor
    """λ or W as it entered the loss, `[T, T]`."""
    trajectory: Tensor
    """The same at the start and after every epoch, `[epochs + 1, T, T]`."""
    history: list[dict[str, float]]
    """Per epoch: epoch, seconds, train_loss, val_rmse."""
    seconds: float


def build_model(n_features: int, n_tasks: int, settings: Settings) -> GATE:
    """GATE on the fingerprint MLP."""
    embedding = FeatureMLP(n_features, hidden=settings.embedding_hidden, d=settings.d, dropout=settings.dropout)
    return GATE(embedding, n_tasks, d=settings.d, k=settings.k, hidden=settings.hidden)


def train(
    data: PreparedData,
    method: Method,
    settings: Settings,
    *,
    seed: int,
    device: torch.device | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train once, λ constant or learned; the same seed gives the same bits.

    Args:
        data: molecules, split and scaling.
        method: how λ is chosen.
        settings: hyperparameters.
        seed: of the initial weights, the batches, the exchange and dropout.
        device: CPU when left out.
        checkpoint: written after every epoch; if it exists, training goes on from it.
        progress: called after every epoch.
    """
    device = device or torch.device("cpu")
    torch.manual_seed(seed)
    tasks = data.abbreviations
    model = build_model(data.x.shape[1], len(tasks), settings).to(device)
    batches = ExchangingBatches(
        data.molecules.to(device),
        data.split.train,
        data.split.validation,
        batch_size=settings.batch_size,
        exchange=settings.exchange,
        seed=seed,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * len(batches.train))
    ratios, train_loss = method.ratios(tasks).to(device), method.train_loss()
    learned = isinstance(method, Learned)
    learner = BilevelLearner(
        model,
        optimizer,
        ratios,
        train_loss=train_loss,
        lambda_terms=train_loss.lambda_terms,
        val_loss=method.val_loss() if isinstance(method, Learned) else DirectPathLoss(),
        hypergradient=method.hypergradient() if isinstance(method, Learned) else None,
        outer_optimizer=torch.optim.Adam(
            ratios.parameters(), lr=method.outer_lr if isinstance(method, Learned) else 0.0
        ),
        inner_scheduler=schedule,
    )
    history: list[dict[str, float]] = []
    selection, selection_labels = data.some(data.split.selection)
    if checkpoint is not None and checkpoint.exists():
        state = read_checkpoint(checkpoint)
        learner.load_state_dict(state["learner"])
        batches.load_state_dict(state["batches"])
        history = state["history"]

    def after_epoch(learner: BilevelLearner) -> None:
        batches.next_epoch()
        score = float(rmse(predict(model, selection), selection_labels).mean())
        row = learner.epochs.iloc[-1]
        history.append(
            {
                "epoch": int(row["epoch"]),
                "seconds": float(row["seconds"]),
                "train_loss": float(row["train_loss"]),
                "val_rmse": score,
            }
        )
        if checkpoint is not None:
            state = {"learner": learner.state_dict(), "batches": batches.state_dict(), "history": history}
            write_checkpoint(checkpoint, state)
        if progress is not None:
            progress(learner.epoch, settings.epochs, score)

    learner.fit(
        batches.train,
        batches.validation,
        epochs=settings.epochs,
        outer_every=settings.outer_every if learned else None,
        callbacks=[after_epoch],
    )
    seconds = float(learner.epochs["seconds"].iloc[-1])
    trajectory = cast(Tensor, learner.trajectory)
    return Trained(model, ratios().detach().cpu(), trajectory, history, seconds)


def predict(model: nn.Module, x: Tensor, batch_size: int = 4096) -> NDArray[np.float64]:
    """Direct predictions `[N, T]` in standardised units, in eval mode."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    with torch.no_grad():
        parts = [model(part.to(device)).double().cpu().numpy() for part in torch.split(x, batch_size)]
    model.train(training)
    return np.concatenate(parts)


def rmse(predicted: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square error per task `[T]` over the molecules that carry the label (NaN = none)."""
    return np.asarray(np.sqrt(np.nanmean((predicted - labels) ** 2, axis=0)))


def resolve_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one; anything else is a torch device name, checked."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"--device {name}: not to be had here ({str(error).splitlines()[0]}); use auto or cpu"
        ) from error
    return device
