"""Learn λ from validation loss while the model trains: inner steps on θ, outer steps on λ."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal, Protocol, cast

import pandas as pd
import torch
from torch import Tensor, nn

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients import Hypergradient, OneStep, StepBatches
from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.problem import BilevelProblem, Loss, checked_scalar, eval_mode

__all__ = ["BilevelLearner", "Epoch", "Weights"]


class Weights(Protocol):
    """What the learner asks of `weights`: a module whose call gives λ; `TransferRatios` and `LossWeights` are such."""

    def __call__(self) -> Tensor:
        """λ, a function of the module's parameters."""

    def project_(self) -> None:
        """Move the parameters back into the constraint, in place."""

    def state_dict(self) -> dict[str, Any]:
        """As of `nn.Module`."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """As of `nn.Module`."""


@dataclass(frozen=True)
class Epoch:
    """One row of `learner.history`."""

    epoch: int
    """1 for the first."""
    train_loss: float
    """Mean of L_train over the epoch's inner steps, each before its step."""
    outer_steps: int
    """Outer steps taken in this epoch."""
    skipped: int
    """Outer steps left out because the hypergradient was not finite."""
    seconds: float
    """Since the first epoch began, pauses between runs left out."""


class BilevelLearner:
    """Learns λ by gradient descent on L_val(θ*(λ), λ) (paper, Eq. 13) during one training of θ.

    Args:
        model: holds θ.
        inner_optimizer: steps on θ; any parameter groups. `torch.optim.SGD`, `Adam` and `AdamW` with the estimators
            that look ahead; with `Direct`, any optimizer that steps without a closure.
        weights: `TransferRatios`, `LossWeights`, or any module whose call gives λ and that has `project_`.
        train_loss: (model, λ, batch) ↦ L_train(θ, λ), a scalar. λ is the tensor that `weights()` gives; it may enter
            in any smooth way.
        val_loss: (model, λ, batch) ↦ L_val(θ, λ), a scalar. Called with the model in eval mode.
        hypergradient: the estimator of dL_val/dλ.
        outer_optimizer: steps on `weights.parameters()`; Adam with lr=0.02 when left out.
        inner_scheduler: stepped after every inner step, and saved with the rest.

    Raises:
        UnsupportedError: the estimator cannot handle the optimizer or the model; the message says what can.
    """

    def __init__(
        self,
        model: nn.Module,
        inner_optimizer: torch.optim.Optimizer,
        weights: Weights,
        *,
        train_loss: Loss,
        val_loss: Loss,
        hypergradient: Hypergradient | None = None,
        outer_optimizer: torch.optim.Optimizer | None = None,
        inner_scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    ) -> None:
        self.model, self.inner_optimizer, self.weights = model, inner_optimizer, weights
        self.train_loss, self.val_loss = train_loss, val_loss
        self.estimator = OneStep() if hypergradient is None else hypergradient
        raw = list(cast(nn.Module, weights).parameters())
        self.outer_optimizer = torch.optim.Adam(raw, lr=0.02) if outer_optimizer is None else outer_optimizer
        self.inner_scheduler = inner_scheduler
        held = {id(p) for group in self.outer_optimizer.param_groups for p in group["params"]}
        if held != {id(p) for p in raw}:
            raise ValueError("outer_optimizer must hold the parameters of `weights`, all of them and no others")
        if isinstance(inner_optimizer, torch.optim.LBFGS):
            raise UnsupportedError(
                "inner optimizer LBFGS evaluates the loss several times a step; use SGD, Adam or AdamW"
            )
        self._problem = BilevelProblem(model, inner_optimizer, train_loss, val_loss)
        self.estimator.check(self._problem)
        self.epoch = self.inner_steps = self.outer_steps = self.skipped = 0
        self._epochs: list[Epoch] = []
        self._trajectory = [self._lambda().cpu()]

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch, see `Epoch`."""
        return pd.DataFrame([asdict(epoch) for epoch in self._epochs], columns=list(Epoch.__annotations__))

    @property
    def trajectory(self) -> Tensor:
        """λ at the start and after every epoch, `[epochs + 1, *λ.shape]`."""
        return torch.stack(self._trajectory)

    def inner_step(self, batch: Any) -> Tensor:
        """One ordinary optimizer step on θ; the loss before it."""
        self.inner_optimizer.zero_grad()
        loss = checked_scalar(self.train_loss(self.model, self._lambda(), batch), "train_loss")
        loss.backward()  # type: ignore[no-untyped-call]
        self.inner_optimizer.step()
        if self.inner_scheduler is not None:
            self.inner_scheduler.step()
        self.inner_steps += 1
        return loss.detach()

    def hypergradient(self, train_batch: Any, val_batch: Any) -> Tensor:
        """dL_val/dλ in λ itself, before the constraint's chain rule; shaped like `weights()`. Changes nothing."""
        return self.estimator(self._problem, self._lambda(), train_batch, val_batch).detach()

    def outer_step(self, train_batch: Any, val_batch: Any) -> Tensor:
        """One step on λ; the hypergradient it used. One that is not finite changes nothing and counts as skipped."""
        g = self.hypergradient(train_batch, val_batch)
        if not bool(g.isfinite().all()):
            self.skipped += 1
            return g
        self.outer_optimizer.zero_grad()
        self.weights().backward(g)  # type: ignore[no-untyped-call]
        self.outer_optimizer.step()
        self.weights.project_()
        self.outer_steps += 1
        return g

    def validate(self, batches: Iterable[Any]) -> float:
        """Mean of L_val over `batches` at the present θ and λ, without a gradient."""
        with torch.no_grad(), eval_mode(self.model):
            losses = [self.val_loss(self.model, self._lambda(), batch).item() for batch in batches]
        return sum(losses) / len(losses)

    def fit(
        self,
        train_batches: Iterable[Any],
        val_batches: Iterable[Any],
        epochs: int,
        outer_every: Literal["epoch"] | int | None = "epoch",
        callbacks: Iterable[Callable[["BilevelLearner"], object]] = (),
    ) -> "BilevelLearner":
        """Train until `epochs` epochs are done in all; a learner that was loaded goes on where it stood.

        Args:
            train_batches: iterated once per epoch for the inner steps (a DataLoader, a list; not a generator), and
                once more per pass of outer steps under outer_every="epoch".
            val_batches: likewise, for the outer steps; repeated where it runs out.
            epochs: the epochs to reach, those before a resume counted in.
            outer_every: "epoch": after each epoch one pass over the validation batches, an outer step on each (the
                paper's schedule). n: an outer step before every n-th inner step, counted through all epochs, on the
                batch about to be trained on. None: λ stays as it is.
            callbacks: each is called with the learner at the end of every epoch.

        Returns:
            The learner.
        """
        if outer_every not in ("epoch", None) and (
            isinstance(outer_every, bool) or not isinstance(outer_every, int) or outer_every < 1
        ):
            raise ValueError(f"outer_every={outer_every!r}: 'epoch', an integer >= 1 or None is wanted")
        for name, batches in (("train_batches", train_batches), ("val_batches", val_batches)):
            if isinstance(batches, Iterator):
                raise TypeError(f"{name} is an iterator, good for one pass only; pass a DataLoader or a list")
        while self.epoch < epochs:
            self._one_epoch(train_batches, val_batches, outer_every)
            for callback in callbacks:
                callback(self)
        return self

    def _one_epoch(
        self,
        train_batches: Iterable[Any],
        val_batches: Iterable[Any],
        outer_every: Literal["epoch"] | int | None,
    ) -> None:
        started, outer_before, skipped_before = time.perf_counter(), self.outer_steps, self.skipped
        losses: list[Tensor] = []
        every = outer_every if isinstance(outer_every, int) else None
        validation = _repeated(val_batches, start=self.outer_steps + self.skipped)
        for ahead in _lookahead(train_batches, self.estimator.steps):
            if self.inner_steps == 0 and outer_every == "epoch":  # what cannot work fails before any training
                with RandomState():
                    rehearsal = next(_repeated(val_batches))
                self.hypergradient(self._steps(ahead), rehearsal)
            if every is not None and self.inner_steps % every == 0:
                self.outer_step(self._steps(ahead), next(validation))
            losses.append(self.inner_step(ahead[0]))
        if outer_every == "epoch":
            again = _repeated(train_batches)
            for val_batch in val_batches:
                self.outer_step(self._steps([next(again) for _ in range(self.estimator.steps)]), val_batch)
        if not losses:
            raise ValueError("train_batches gave no batch")
        before = self._epochs[-1].seconds if self._epochs else 0.0
        self.epoch += 1
        self._trajectory.append(self._lambda().cpu())
        self._epochs.append(
            Epoch(
                epoch=self.epoch,
                train_loss=float(torch.stack(losses).mean()),
                outer_steps=self.outer_steps - outer_before,
                skipped=self.skipped - skipped_before,
                seconds=before + time.perf_counter() - started,
            )
        )

    def _steps(self, batches: list[Any]) -> Any:
        """What the estimator wants: one batch, or one for each of its steps (repeated where an epoch ends)."""
        steps = self.estimator.steps
        return batches[0] if steps == 1 else StepBatches(batches[i % len(batches)] for i in range(steps))

    def _lambda(self) -> Tensor:
        return self.weights().detach().clone()

    def state_dict(self) -> dict[str, Any]:
        """θ, λ, both optimizers, the scheduler, counters, history and random generators; taken between epochs, a run
        resumed from it equals an uninterrupted one to the bit. `torch.load(weights_only=True)` reads it."""
        return {
            "model": self.model.state_dict(),
            "weights": self.weights.state_dict(),
            "inner_optimizer": self.inner_optimizer.state_dict(),
            "outer_optimizer": self.outer_optimizer.state_dict(),
            "inner_scheduler": None if self.inner_scheduler is None else self.inner_scheduler.state_dict(),
            "counters": {name: getattr(self, name) for name in _COUNTERS},
            "history": [asdict(epoch) for epoch in self._epochs],
            "trajectory": self.trajectory,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`, in a learner built with the same arguments."""
        self.model.load_state_dict(state["model"])
        self.weights.load_state_dict(state["weights"])
        self.inner_optimizer.load_state_dict(state["inner_optimizer"])
        self.outer_optimizer.load_state_dict(state["outer_optimizer"])
        if (self.inner_scheduler is None) != (state["inner_scheduler"] is None):
            raise ValueError("the state and this learner must both have an inner_scheduler, or neither")
        if self.inner_scheduler is not None:
            self.inner_scheduler.load_state_dict(state["inner_scheduler"])
        for name in _COUNTERS:
            setattr(self, name, state["counters"][name])
        self._epochs = [Epoch(**row) for row in state["history"]]
        self._trajectory = list(state["trajectory"])
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda_rng"]])


_COUNTERS = ("epoch", "inner_steps", "outer_steps", "skipped")


def _lookahead(batches: Iterable[Any], n: int) -> Iterator[list[Any]]:
    """Every batch with the n−1 that follow it; fewer at the end."""
    window: deque[Any] = deque()
    for batch in batches:
        window.append(batch)
        if len(window) == n:
            yield list(window)
            window.popleft()
    while window:
        yield list(window)
        window.popleft()


def _repeated(batches: Iterable[Any], start: int = 0) -> Iterator[Any]:
    """Pass after pass without end, from batch number `start` on where the number of batches is known."""
    skip = start % len(batches) if isinstance(batches, Sized) and len(batches) else 0
    while True:
        empty = True
        for batch in islice(batches, skip, None):
            empty = False
            yield batch
        if empty and not skip:
            raise ValueError("the batches to repeat are empty")
        skip = 0
