"""The stepper for a weighting rule, which changes the weights of the targets during the training."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gate_model.data.batches import ExchangingBatches
from gate_model.model.gate import GATE
from gate_model.training.methods import AVERAGED
from gate_model.training.schedules import scheduler
from gate_model.training.settings import Settings
from gate_model.training.stepper import Passed, Stepper
from gate_model.training.weighting import Rule, target_weights

__all__ = ["ByRule"]


class ByRule(Stepper):
    """One network and a weighting rule.

    Args:
        model: the network.
        rule: a function that makes the rule from the number of tasks.
        settings: hyperparameters.
        batches: train and validation batches.

    Raises:
        ValueError: `settings` ask for half precision or relative losses.
    """

    def __init__(
        self, model: GATE, rule: Callable[[int], Rule], settings: Settings, batches: ExchangingBatches
    ) -> None:
        if settings.precision != "float32" or settings.relative_losses:
            raise ValueError(
                f"precision={settings.precision!r}, relative_losses={settings.relative_losses}: a weighting rule must "
                "be trained in float32 with relative_losses=False"
            )
        self.networks, self._batches = [model], batches
        self._rule = rule(model.n_tasks)
        groups: list[dict[str, Any]] = [{"params": list(model.parameters())}, *self._rule.groups()]
        self._optimizer = torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
        steps = settings.epochs * len(batches.train)
        self._schedule = scheduler(settings.schedule, self._optimizer, steps)
        self._rule.before_training(steps)
        self._loss = AVERAGED.of(settings).train
        self._seconds, self._weights = 0.0, [self._target_weights()]

    def epoch(self) -> Passed:
        """Train for one epoch. The rule computes the gradients in place of the loss's own backward pass."""
        started, losses = time.perf_counter(), []
        for batch in self._batches.train:
            self._optimizer.zero_grad()
            losses.append(self._rule.backward(self.networks[0], self._loss, batch))
            self._optimizer.step()
            self._schedule.step()
        self._rule.after_epoch()
        self._seconds += time.perf_counter() - started
        self._weights.append(self._target_weights())
        return Passed(self._seconds, [float(torch.stack(losses).mean())], float(self._optimizer.param_groups[0]["lr"]))

    def trajectory(self, place: int) -> Tensor:
        """Return W at the start and after every epoch: W[t, t] = w[t], W[t, s] = λ·w[t]."""
        return torch.stack(self._weights)

    def lambda_(self, place: int) -> Tensor:
        """Return the rule's λ. It does not depend on w, because a target's losses share the same w."""
        return target_weights(torch.ones(len(self._rule.weights)), self._rule.lambda_)

    def _target_weights(self) -> Tensor:
        return target_weights(self._rule.weights.detach().clone(), self._rule.lambda_)
