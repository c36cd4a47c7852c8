"""The argument of the user's training function: the seed, λ, and a learner that learns λ or keeps it constant."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any, cast

import torch
from torch import nn

from bilevel_hpo.comparison._fixed import flat
from bilevel_hpo.comparison._jobs import Trained
from bilevel_hpo.comparison._learned import Learned
from bilevel_hpo.comparison._scores import Metric, Score, by_task
from bilevel_hpo.comparison._verdict import outer_steps_of, verdict_of
from bilevel_hpo.learner import BilevelLearner, Weights
from bilevel_hpo.problem import Loss, Structure
from bilevel_hpo.search import Reports

__all__ = ["Run"]

_MOST_NUMBERS = 200_000
"""Of a trajectory of λ that are kept: of more λ, fewer epochs."""


class Run:
    """One training, created by `compare` and passed to the training function.

    Before the function is called, torch's random generators are seeded with `seed`.

    Args:
        seed: the seed of everything random in the training: the split, initial weights, batches.
        method: the name of the method.
        weights: the λ module of this training, learned or constant.
        learned: how λ is learned; None for a constant λ.
        metric: the meaning of the scores.
        wants_test: whether the scores on the test data are needed.
        options: further values that a method of your own passes to its training.
        reports: the receiver of `report`.
    """

    def __init__(
        self,
        seed: int,
        method: str,
        weights: nn.Module,
        learned: Learned | None,
        metric: Metric,
        *,
        wants_test: bool = True,
        options: Mapping[str, float] | None = None,
        reports: Reports | None = None,
    ) -> None:
        self.seed, self.method, self.weights, self.learned = seed, method, weights, learned
        self.wants_test, self.options = wants_test, dict(options or {})
        self._metric, self._learner = metric, cast(BilevelLearner | None, None)
        self._curve: list[dict[str, float]] = []
        self._reports = Reports(None) if reports is None else reports
        self._began = time.perf_counter()

    @property
    def learns(self) -> bool:
        """Whether λ is learned in this training."""
        return self.learned is not None

    @property
    def elapsed(self) -> float:
        """The seconds since the start of the training."""
        return time.perf_counter() - self._began

    def learner(
        self,
        model: nn.Module,
        inner_optimizer: torch.optim.Optimizer,
        *,
        train_loss: Loss,
        val_loss: Loss,
        **options: Any,
    ) -> BilevelLearner:
        """Makes the learner of this training.

        Args:
            model: the model, as in `BilevelLearner`.
            inner_optimizer: the optimizer of θ.
            train_loss: (model, λ, batch) ↦ L_train.
            val_loss: (model, λ, batch) ↦ L_val.
            options: further arguments of `BilevelLearner`, such as `inner_scheduler`; the method sets how λ is learned.
        """
        how = {} if self.learned is None else self.learned.options(self.weights)
        self._learner = BilevelLearner(
            model, inner_optimizer, self.weights, train_loss=train_loss, val_loss=val_loss, **{**how, **options}
        )
        return self._learner

    def fit(
        self,
        learner: BilevelLearner,
        train_batches: Iterable[Any],
        val_batches: Iterable[Any],
        epochs: int,
        score: Callable[[], Score] | None = None,
        **options: Any,
    ) -> BilevelLearner:
        """Calls `learner.fit` with the method's schedule of outer steps; a constant λ stays unchanged.

        Args:
            learner: the learner made by `self.learner`.
            train_batches: as in `BilevelLearner.fit`, with a length, which the schedule needs.
            val_batches: as in `BilevelLearner.fit`; not read if λ is constant.
            epochs: the total number of epochs.
            score: a function called after every epoch that returns a score on the selection data, for the report's
                curves.
            options: further arguments of `BilevelLearner.fit`.
        """
        schedule: dict[str, Any] = {"outer_every": None}
        if self.learned is not None:
            if not isinstance(train_batches, Sized):
                raise TypeError(
                    f"train_batches must have a length, since the warm-up is a share of all steps; got a "
                    f"{type(train_batches).__name__}, pass a DataLoader or a list"
                )
            schedule = self.learned.schedule(epochs * (len(train_batches) // options.get("accumulate", 1)))

        def note(learner: BilevelLearner) -> None:
            last = learner.epochs.iloc[-1]
            row = {name: float(last[name]) for name in ("epoch", "seconds", "train_loss")}
            scored = {} if score is None else by_task(score(), self._metric, "score()")
            self._curve.append(row | ({"selection": self._metric.mean(scored)} if scored else {}))
            if scored:
                self.report(scored, int(row["epoch"]))

        callbacks = [note, *options.pop("callbacks", ())]
        return learner.fit(
            train_batches, val_batches, epochs, callbacks=callbacks, **{"progress": False, **schedule, **options}
        )

    def report(self, score: Score, epoch: int) -> None:
        """Reports a score on the selection data after `epoch` (1, 2, …); `fit` does this if it receives a `score`.

        Raises:
            optuna.TrialPruned: the pruner of a search stops the training. Do not catch it.
        """
        self._reports.report(self._metric.loss(by_task(score, self._metric, "score")), epoch)

    def trained(self, selection: Mapping[str, float], test: Mapping[str, float], extra: Mapping[str, Any]) -> Trained:
        """Returns the record of this training."""
        learner, verdict, found = self._learner, None, dict[str, Any]()
        if learner is not None:
            found |= {"seconds": learner.clock.seconds, "epochs": learner.epoch}
        if learner is not None and self.learns:
            verdict = verdict_of(learner)
            found |= {"trajectory": _trajectory(learner), "outer_steps": outer_steps_of(learner)}
        return Trained(
            dict(selection),
            dict(test),
            lambda_=flat(cast(Weights, self.weights)),
            curve=self._curve,
            signal=None if verdict is None else dataclasses.asdict(verdict),
            extra=dict(extra),
            **{"seconds": self.elapsed, **found},
        )


def _trajectory(learner: BilevelLearner) -> list[list[float]]:
    """Returns λ at the start and after every epoch `[epochs + 1, N]`; for very many λ only at the start and the end."""
    lambda_ = learner.trajectory
    parts = [part.reshape(len(part), -1) for part in Structure.parts(lambda_)]
    path = torch.cat(parts, dim=1)
    if path.numel() > _MOST_NUMBERS:
        path = path[[0, -1]]
    return cast(list[list[float]], path.double().tolist())
