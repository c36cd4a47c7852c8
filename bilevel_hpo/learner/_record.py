"""The record of a training: counters of steps and epochs, the path of λ, and every outer step."""

import math
from dataclasses import asdict
from typing import Any, Literal, cast

import pandas as pd
import torch
from torch import Tensor, nn

from bilevel_hpo.learner._arguments import labels_of
from bilevel_hpo.learner._history import Epoch, History, OuterStep
from bilevel_hpo.learner._stopwatch import Stopwatch
from bilevel_hpo.learner._weights import Weights
from bilevel_hpo.problem import BilevelProblem, Lambda
from bilevel_hpo.signal import Signal, signal

__all__ = ["Record"]


class Record:
    """Base class of `BilevelLearner`: everything that takes no step.

    Args:
        problem: gives the shapes of λ, and the ranks that train together.
        weights: the module whose call returns λ.
    """

    def __init__(self, problem: BilevelProblem, weights: Weights) -> None:
        self._problem, self.weights = problem, weights
        self.epoch = self.inner_steps = self.outer_steps = self.skipped = self._skipped_in_a_row = 0
        self.recomputed = self.uncertified = 0
        """Outer steps whose hypergradient float32 did not certify: those computed again in float64, and those that this
        did not certify either. `history` shows which."""
        self._epochs: list[Epoch] = []
        self._trajectory = [self._flat().cpu()]
        self.labels: list[str] = labels_of(weights, len(self._trajectory[0]))
        """The names of the entries of λ."""
        self._history = History(self.labels)
        self.clock = Stopwatch()
        """The time of training; `fit` runs it during its epochs."""

    @property
    def history(self) -> pd.DataFrame:
        """A table of one row per outer step: the fields of `OuterStep`, then λ before the step and its hypergradient g.

        The columns are `lambda:<label>` and `g:<label>`. A long training keeps every second, fourth, … outer step (see
        `History`).
        """
        return self._history.to_frame(list(OuterStep.__annotations__))

    @property
    def epochs(self) -> pd.DataFrame:
        """A table of one row per epoch (see `Epoch`)."""
        return pd.DataFrame([asdict(epoch) for epoch in self._epochs], columns=list(Epoch.__annotations__))

    @property
    def trajectory(self) -> Lambda:
        """λ at the start and after every epoch, `[epochs + 1, *λ.shape]`; a tuple or dict of these if λ is one."""
        return self._problem.structure.unflatten(torch.stack(self._trajectory))

    @property
    def last_outer_step(self) -> OuterStep | None:
        """The scalars of the last outer step that this learner took; None before the first."""
        return None if self._history.last is None else OuterStep(**self._history.last)

    def signal(
        self,
        *,
        level: float = 0.05,
        correction: Literal["holm", "bh"] = "holm",
        window: tuple[float, float] = (0.0, 1.0),
        validation_batches: int | None = None,
    ) -> Signal:
        """Tests whether there is anything to learn: whether the hypergradients so far exceed the noise of their
        batches.

        `print` the result for a verdict in words. `bilevel_hpo.signal.signal` explains the test and its limits.

        Args:
            level: the significance level of the verdicts.
            correction: the correction for the number of λ, "holm" or "bh".
            window: the part of the history to use, as two shares.
            validation_batches: the number of validation batches, if the outer steps cycle through the same ones.
        """
        return signal(
            self.history,
            cast(nn.Module, self.weights),
            level=level,
            correction=correction,
            window=window,
            validation_batches=validation_batches,
        )

    def follow(self, epoch: int, inner_steps: int) -> None:
        """Records progress when the caller takes the inner steps, and λ after the last epoch.

        Args:
            epoch: the number of finished epochs.
            inner_steps: the total number of inner steps.
        """
        self.epoch, self.inner_steps = epoch, inner_steps
        while len(self._trajectory) <= epoch:
            self._trajectory.append(self._flat().cpu())

    def end_epoch(self, train_loss: float, val_loss: float = math.nan, *, stopped: bool = False) -> Epoch:
        """Ends an epoch: adds its row to `epochs`, and λ to `trajectory`. `fit` does this; call it in a loop of your
        own.

        Args:
            train_loss: the mean of L_train over the inner steps of the epoch.
            val_loss: L_val, averaged here over the ranks of DistributedDataParallel; NaN if unknown.
            stopped: whether the epoch was cut short.

        Returns:
            The row, which counts the outer steps since the previous one.
        """
        self.clock.stop()
        self.epoch += 1
        self._trajectory.append(self._flat().cpu())
        row = Epoch(
            epoch=self.epoch,
            train_loss=train_loss,
            outer_steps=self.outer_steps - sum(epoch.outer_steps for epoch in self._epochs),
            skipped=self.skipped - sum(epoch.skipped for epoch in self._epochs),
            seconds=self.clock.seconds,
            val_loss=self._problem.ranks.averaged_number(val_loss),
            stopped=stopped,
        )
        self._epochs.append(row)
        return row

    def progress(self) -> dict[str, Any]:
        """Returns the counters and records of the learner itself, as a part of `state_dict`."""
        return {
            "counters": {**{name: getattr(self, name) for name in _COUNTERS}, "_seconds": self.clock.seconds},
            "epochs": [asdict(epoch) for epoch in self._epochs],
            "history": self._history.state_dict(),
            "trajectory": torch.stack(self._trajectory),
        }

    def load_progress(self, progress: dict[str, Any]) -> None:
        """Continues from `progress`."""
        for name in _COUNTERS:
            setattr(self, name, progress["counters"].get(name, 0))
        self._epochs = [Epoch(**row) for row in progress["epochs"]]
        self._history.load_state_dict(progress["history"])
        self._trajectory = list(progress["trajectory"])
        self.clock.reset(progress["counters"]["_seconds"])

    def _flat(self) -> Tensor:
        """Returns λ `[N]`, detached."""
        return self._problem.structure.flatten(self.weights()).detach().clone()

    def _note(self, row: OuterStep, lambda_: Tensor, g: Tensor) -> None:
        """Records an outer step: its row of `history`, λ `[N]` before it, and its hypergradient `[N]`."""
        self._history.add(dict(vars(row)), lambda_, g)
        self.recomputed += row.computed_in == "float64" and lambda_.dtype != torch.float64
        self.uncertified += not row.certified
        if row.skipped:
            self.skipped += 1
            self._skipped_in_a_row += 1
        else:
            self.outer_steps += 1
            self._skipped_in_a_row = 0


_COUNTERS = ("epoch", "inner_steps", "outer_steps", "skipped", "recomputed", "uncertified", "_skipped_in_a_row")
