"""One training of GATE under a weighting rule: that of `gate_model.training.loop.train`, but for the weights."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gate_model.data.prepared import PreparedData
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.training.loop import Settings, build_model, finite_score
from gate_model.training.schedules import scheduler
from gate_model.training.weighting import Rule

__all__ = ["WeightedTraining", "train_weighted"]


@dataclass(frozen=True)
class WeightedTraining:
    """What one training leaves behind."""

    model: GATE
    weights: Tensor
    """w at the start and after every epoch, `[epochs + 1, T]`."""
    history: list[dict[str, float]]
    """Per epoch: epoch, seconds, train_loss and selection, as in `EpochReport`."""

    @property
    def seconds(self) -> float:
        """Of the training itself."""
        return self.history[-1]["seconds"]

    @property
    def val_rmse(self) -> float:
        """On the selection molecules, at the end."""
        return self.history[-1]["selection"]


def train_weighted(
    data: PreparedData, rule: Callable[[int], Rule], settings: Settings, *, seed: int
) -> WeightedTraining:
    """Train once; the same seed gives the same bits, and with all weights 1 those of `train` with constant λ.

    Args:
        data: molecules, split and scaling.
        rule: from T, a rule without a past.
        settings: hyperparameters; those that concern the learning of λ are not used.
        seed: of the initial weights, the batches, the exchange and dropout.

    Raises:
        DivergedError: the training diverged.
        ValueError: `settings` ask for early stopping, half precision or relative losses.
    """
    if settings.patience is not None or settings.precision != "float32" or settings.relative_losses:
        raise ValueError("weighting rules know neither patience nor half precision nor relative losses")
    torch.manual_seed(seed)
    model = build_model(data.featurizer.width, len(data.abbreviations), settings)
    batches = data.batches(settings.batch_size, settings.exchange, seed=seed)
    weighting = rule(len(data.abbreviations))
    groups = [{"params": list(model.parameters())}, *weighting.groups()]
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    steps = settings.epochs * len(batches.train)
    schedule = scheduler(settings.schedule, optimizer, steps)
    weighting.before_training(steps)
    loss = TrainLoss(mapping="mean", geometry_share=settings.geometry_share)
    selection, labels = data.some(data.split.selection)
    weights, history, seconds = [weighting.weights.clone()], list[dict[str, float]](), 0.0
    for epoch in range(1, settings.epochs + 1):
        started, losses = time.perf_counter(), []
        for batch in batches.train:
            optimizer.zero_grad()
            losses.append(weighting.backward(model, loss, batch))
            optimizer.step()
            schedule.step()
        weighting.after_epoch()
        seconds += time.perf_counter() - started
        batches.next_epoch()
        score = finite_score(model, selection, labels, epoch, settings)
        weights.append(weighting.weights.clone())
        row = {"epoch": float(epoch), "seconds": seconds, "train_loss": float(torch.stack(losses).mean())}
        history.append(row | {"selection": score})
    return WeightedTraining(model, torch.stack(weights), history)
