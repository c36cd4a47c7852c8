"""The stepper for a constant or learned λ: `bilevel_hpo.BilevelLearner` takes the steps on θ, and on λ in turns."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from bilevel_hpo import BilevelLearner
from bilevel_hpo.comparison import outer_steps_of, verdict_of
from bilevel_hpo.signal import Verdict
from gate_model.data.batches import Batch, ExchangingBatches
from gate_model.model.gate import GATE
from gate_model.training.methods import Method
from gate_model.training.precision import in_precision
from gate_model.training.schedules import scheduler
from gate_model.training.settings import Settings
from gate_model.training.sparsity import ActivePairs
from gate_model.training.stepper import Passed, Stepper

__all__ = ["ByLearner"]


class ByLearner(Stepper):
    """One network, and λ chosen by one method.

    Args:
        model: the network.
        method: how λ is chosen.
        settings: hyperparameters.
        tasks: names of the T tasks.
        batches: train and validation batches.
    """

    def __init__(
        self, model: GATE, method: Method, settings: Settings, tasks: tuple[str, ...], batches: ExchangingBatches
    ) -> None:
        self.networks = [model]
        self._batches, steps = batches, len(batches.train)
        self.learner = _learner(model, method, settings, tasks, settings.epochs * steps)
        self._outer_every: int | None = None
        self._warm_up = 0
        if method.learning is not None:
            self._outer_every, self._warm_up = method.learning.schedule(settings.epochs, steps)

    def epoch(self) -> Passed:
        """Train for one epoch with the learner's `fit`."""
        learner = self.learner
        learner.fit(
            self._batches.train,
            self._batches.validation,
            epochs=learner.epoch + 1,
            outer_every=self._outer_every,
            warm_up=self._warm_up,
            progress=False,  # the loop shows its own progress, which says more
        )
        row, lr = learner.epochs.iloc[-1], float(learner.inner_optimizer.param_groups[0]["lr"])
        return Passed(float(row["seconds"]), [float(row["train_loss"])], lr)

    def trajectory(self, place: int) -> Tensor:
        """Return λ or W at the start and after every epoch, as the learner recorded it."""
        return cast(Tensor, self.learner.trajectory)

    def outer_steps(self, place: int) -> list[dict[str, Any]]:
        """Return one entry for each step on λ, from the learner's history."""
        return outer_steps_of(self.learner)

    def verdict(self, place: int) -> Verdict | None:
        """Return whether the learner's hypergradients say anything about λ."""
        return verdict_of(self.learner)

    def state_dict(self) -> dict[str, Any]:
        """Return the learner's state: θ, λ, the optimizers, the schedule and the history."""
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.learner.load_state_dict(state)


def _learner(model: GATE, method: Method, settings: Settings, tasks: tuple[str, ...], steps: int) -> BilevelLearner:
    learning, losses = method.learning, method.losses.of(settings)
    ratios = method.ratios(tasks).to(next(model.parameters()).device)
    # No path is left out when λ is constant, except those of weight 0.
    active = ActivePairs(settings.threshold, settings.rotation, settings.top_k) if learning else ActivePairs(0.0)

    def on_pairs(term: Callable[..., Tensor]) -> Callable[[nn.Module, Tensor, Batch], Tensor]:
        def of(model: nn.Module, weights: Tensor, batch: Batch) -> Tensor:
            return term(model, weights, batch, cast(Tensor, learner.active))

        return of

    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    learner = BilevelLearner(
        model,
        optimizer,
        ratios,
        train_loss=in_precision(on_pairs(losses.train), settings.precision),
        lambda_terms=in_precision(on_pairs(losses.train.lambda_terms), settings.precision),
        val_loss=in_precision(losses.val, settings.precision),
        hypergradient=learning.estimator if learning else None,
        outer_optimizer=torch.optim.Adam(ratios.parameters(), lr=learning.outer_lr if learning else 0.0),
        inner_scheduler=scheduler(settings.schedule, optimizer, steps),
        active=active,
    )
    return learner
