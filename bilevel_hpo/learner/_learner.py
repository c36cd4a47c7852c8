"""Learn λ from validation loss while the model trains: inner steps on θ, outer steps on λ."""

import math
import time
import warnings
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bilevel_hpo.batches import StepBatches
from bilevel_hpo.errors import NonFiniteError, NonFiniteWarning, UncertifiedWarning
from bilevel_hpo.hypergradients import Hypergradient, OfOneStep, OneStep, bibliography, upcoming_step
from bilevel_hpo.learner._accumulation import Accumulation
from bilevel_hpo.learner._active import ActiveSet
from bilevel_hpo.learner._arguments import check_arguments
from bilevel_hpo.learner._fit import Callback, Fit, OuterEvery, Schedule
from bilevel_hpo.learner._gradients import accumulate
from bilevel_hpo.learner._history import OuterStep
from bilevel_hpo.learner._outer import descend, not_certified, undone, unusable
from bilevel_hpo.learner._record import Record
from bilevel_hpo.learner._weights import Weights
from bilevel_hpo.problem import (
    BilevelProblem,
    Certificate,
    Clipping,
    Lambda,
    Loss,
    SettingsOf,
    eval_mode,
    kept_attributes,
)

__all__ = ["BilevelLearner"]


class BilevelLearner(Record):
    """Learns λ by gradient descent on L_val(θ*(λ), λ) (paper, Eq. 13) during one training of θ.

    Args:
        model: the model that holds θ; may be wrapped in `torch.nn.parallel.DistributedDataParallel`.
        inner_optimizer: the optimizer of θ, with any parameter groups. Estimators that look ahead support SGD, Adam,
            AdamW, RMSprop, Adagrad, NAdam and RAdam; `Direct` and the implicit ones accept any that needs no closure.
        weights: `TransferRatios`, `LossWeights`, `WeightsDict`, or any module whose call returns λ (a tensor, or a
            tuple or dict of tensors).
        train_loss: (model, λ, batch) ↦ L_train(θ, λ), a scalar. λ is what `weights()` returns; it may enter in any
            smooth way.
        val_loss: (model, λ, batch) ↦ L_val(θ, λ), a scalar. It is called with the model in eval mode.
        hypergradient: the estimator of dL_val/dλ; by default `OneStep()`.
        outer_optimizer: the optimizer of `weights.parameters()`; by default Adam with lr=0.02.
        inner_scheduler: a scheduler stepped after every inner step, and saved with the rest. `fit` steps a
            `ReduceLROnPlateau` once an epoch with the validation loss.
        inner_clip: `ClipNorm` or `ClipValue`, applied to the gradient of the inner step before the optimizer uses
            it. It is part of the differentiated step; clipping by hand would not be.
        inner_settings: λ ↦ {"lr": …, "weight_decay": …}, settings of the inner optimizer as functions of λ, for
            instance `lambda w: {"lr": w["lr"]}`. Estimators that differentiate steps take them into account.
        clip: the largest norm of the hypergradient g; a longer g is scaled to it.
        active: the rule that selects the λ of an outer step; by default all take part.
        lambda_terms: (model, λ, batch) ↦ the terms of L_train that depend on λ, drawing the same random numbers; the
            directional derivative of `OneStep` and `FiniteDifference` needs only these, which may save much of its
            time. By default all of `train_loss`.
        max_skipped: `NonFiniteError` stops the training after this many outer steps in a row were skipped because the
            hypergradient, a loss or the new λ was not finite.

    Raises:
        TypeError, ValueError: an argument has the wrong type or is out of range; the message says what to write.
        UnsupportedError: the estimator cannot handle the optimizer or the model; the message names one that can.
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
        inner_clip: Clipping | None = None,
        inner_settings: SettingsOf | None = None,
        clip: float | None = None,
        active: ActiveSet | None = None,
        lambda_terms: Loss | None = None,
        max_skipped: int = 10,
    ) -> None:
        check_arguments(weights, inner_optimizer, outer_optimizer, hypergradient, inner_clip, clip, max_skipped)
        self.model, self.inner_optimizer = model, inner_optimizer
        self.train_loss, self.val_loss = train_loss, val_loss
        self.estimator = OneStep() if hypergradient is None else hypergradient
        raw = list(cast(nn.Module, weights).parameters())
        self.outer_optimizer = torch.optim.Adam(raw, lr=0.02) if outer_optimizer is None else outer_optimizer
        self.inner_scheduler, self.clip, self.active_set, self.max_skipped = inner_scheduler, clip, active, max_skipped
        problem = BilevelProblem(
            model, inner_optimizer, train_loss, val_loss, weights(), lambda_terms, inner_clip, inner_settings
        )
        self._accumulation = Accumulation(inner_optimizer)
        self.estimator.check(problem)
        if active is not None and [p.shape for p in raw] != problem.structure.shapes:
            raise ValueError("active=... needs `weights` whose parameters have the shapes of λ, in the same order")
        problem.ranks.broadcast_(raw)
        super().__init__(problem, weights)
        self._has_warned = self._in_inner_step = False
        self.place = ""
        """The position of the next outer step ("epoch 1, train batch 3"), for the message if it fails."""

    last_loss: Tensor | None = None
    """L_train of the last inner step of `fit`, before it; None before the first."""
    stopping: bool | None = None
    """Whether `stop` was called in the running `fit`; None if none is running."""

    @property
    def active(self) -> Lambda:
        """The mask of the λ that take part in the current step, or in the next outer step; shaped like `weights()`.

        A loss that leaves out the others needs nothing else: in an inner step, alone or the one that an outer
        step differentiates, the mask is that of the step in progress.
        """
        lambda_, turn = self._flat(), self.outer_steps + self.skipped
        if self.active_set is None:
            mask = torch.ones_like(lambda_, dtype=torch.bool)
        else:
            mask = (self.active_set.inner if self._in_inner_step else self.active_set.mask)(lambda_, turn)
        return self._problem.structure.unflatten(mask)

    def citation(self) -> str:
        """Returns the BibTeX entries of the methods in use."""
        return bibliography(self.estimator.references)

    def inner_step(self, batch: Any) -> Tensor:
        """Takes one ordinary optimizer step on θ; returns the loss before it. `MicroBatches` accumulate gradients."""
        self._accumulation.check_own()
        self._follow_lambda()
        self._in_inner_step = True
        try:
            loss = self._backward(self._flat(), batch)
        finally:
            self._in_inner_step = False
        self._take_inner_step()
        return loss

    def hypergradient(self, train_batch: Any, val_batch: Any) -> Lambda:
        """Returns dL_val/dλ, before the chain rule of the constraint, shaped like `weights()`; changes no state."""
        self._accumulation.check(train_batch)
        return self._problem.structure.unflatten(self._estimate(train_batch, val_batch))

    def outer_step(self, train_batch: Any, val_batch: Any) -> Lambda:
        """Takes one step on λ; returns its hypergradient before clipping.

        If the hypergradient, a loss or the new λ is not finite, nothing changes: the step is counted in
        `skipped`, and a warning is issued. Raises `NonFiniteError` after `max_skipped` in a row.
        """
        started = time.perf_counter()
        self._accumulation.check(train_batch)
        g = self._estimate(train_batch, val_batch)
        self._move(g, started)
        return self._problem.structure.unflatten(g)

    def step(self, train_batch: Any, val_batch: Any) -> Tensor:
        """Takes one inner step on θ, and one on λ with the hypergradient of that same step; returns the loss before
        both.

        `OneStep` and `FiniteDifference` reuse the gradient of the inner step instead of computing it again. That
        makes this the cheapest way to learn λ, and `fit` uses it. Other estimators use θ before the step.
        """
        started = time.perf_counter()
        self._accumulation.check_own()
        if isinstance(self.estimator, OfOneStep):
            self._forget()
            upcoming = upcoming_step(
                self._problem, self._flat(), train_batch, lambda lambda_: self._backward(lambda_, train_batch)
            )
            self._problem.values["train_loss"] = loss = upcoming.loss
            with kept_attributes(self._problem.model):
                g = self.estimator.of(self._problem, upcoming, val_batch)
            self._say_if_not_certified()
            self._take_inner_step()
        else:
            g = self._estimate(train_batch, val_batch)
            loss = self.inner_step(train_batch[0] if isinstance(train_batch, StepBatches) else train_batch)
        self._move(g, started)
        return loss

    def validate(self, batches: Iterable[Any]) -> float:
        """Returns the mean of L_val over `batches` at the current θ and λ, in eval mode without gradients, on this
        rank.

        Raises:
            ValueError: `batches` is empty.
        """
        lambda_ = self._problem.structure.unflatten(self._flat())
        with torch.no_grad(), eval_mode(self.model):
            losses = [self.val_loss(self.model, lambda_, batch).item() for batch in batches]
        if not losses:
            raise ValueError("batches must give at least one batch; it gave none")
        return sum(losses) / len(losses)

    def fit(
        self,
        train_batches: Iterable[Any],
        val_batches: Iterable[Any],
        epochs: int,
        outer_every: OuterEvery = 8,
        callbacks: Iterable[Callback] = (),
        *,
        warm_up: int = 0,
        accumulate: int = 1,
        step_callbacks: Iterable[Callback] = (),
        validate: bool = False,
        progress: bool | None = None,
    ) -> "BilevelLearner":
        """Trains until `epochs` epochs are done in all; a loaded learner continues where it was saved.

        Args:
            train_batches: a DataLoader or a list (not a generator), iterated once per epoch for the inner steps, and
                once more per pass of outer steps with outer_every="epoch".
            val_batches: the same for the outer steps; repeated when exhausted.
            epochs: the total number of epochs, including those before a resume.
            outer_every: with n, every n-th inner step, counted through all epochs, is an outer step too (`step`).
                With "epoch", each epoch is followed by one pass over the validation batches, an outer step on each
                (the paper's schedule). With None, λ stays unchanged.
            callbacks: functions called with the learner at the end of every epoch.
            warm_up: the number of inner steps before the first outer step.
            accumulate: the number of train batches per inner step; their gradients are averaged.
            step_callbacks: functions called with the learner after every inner step (and the outer step that shares its
                gradient), and after every outer step of outer_every="epoch". `last_loss` and `last_outer_step` hold
                the results; `stop` ends the training there.
            validate: if True, `val_loss` in `epochs` is `validate(val_batches)` at the end of every epoch; it leaves
                the random generators of torch unchanged. If False, it is the mean over the outer steps, which costs
                nothing (see `Epoch`).
            progress: whether to show a line with epoch, losses, outer steps and λ on stderr; by default if it is a
                terminal.

        A `ReduceLROnPlateau` as `inner_scheduler` is stepped at the end of every epoch with `val_loss` as
        under validate=True, which is then implied: only that value belongs to one θ and all batches.

        Returns:
            The learner.

        Raises:
            TypeError: batches are an iterator, or callbacks are not functions.
            ValueError: the schedule or number of epochs is invalid; there is no batch; no trainable parameter in the
                inner optimizer, or none in `weights` although `outer_every` is not None.
            RuntimeError: `fit` was called by one of its own callbacks.
        """
        run = Fit(
            self,
            train_batches,
            val_batches,
            Schedule(outer_every, warm_up, accumulate),
            callbacks=callbacks,
            step_callbacks=step_callbacks,
            validate=validate,
            progress=progress,
        )
        run(epochs)
        return self

    def stop(self) -> None:
        """Ends `fit` after the current step; to be called in step and epoch callbacks.

        The epoch ends there: it counts, its row in `epochs` is the mean over the steps taken and says
        `stopped`, and the epoch callbacks are called. An outer pass that has not begun is left out. The next
        `fit`, here or in a learner that loads the `state_dict`, begins the next epoch; the remaining batches are not
        trained on. In DistributedDataParallel all ranks must stop at the same step.

        Raises:
            RuntimeError: no `fit` is running.
        """
        if self.stopping is None:
            raise RuntimeError("stop() ends a running fit, but none is running")
        self.stopping = True

    def _backward(self, lambda_: Tensor, batch: Any) -> Tensor:
        """Writes ∂L_train/∂θ to the `grad` of the parameters (and ∂L_train/∂λ if λ `[N]` needs it); returns L_train."""
        self.inner_optimizer.zero_grad()
        with self._accumulation.ours():
            return accumulate(self._problem, self.model, self.train_loss, lambda_, batch)

    def _follow_lambda(self) -> None:
        """Sets the settings of the inner optimizer that are functions of λ."""
        if self._problem.inner_settings is not None:
            self._problem.inner_settings.write(self.weights())

    def _take_inner_step(self) -> None:
        """Takes a step on θ with the clipped gradients in `grad`."""
        if self._problem.clipping is not None:
            with torch.no_grad():
                gradients = list(self._problem.gradients().values())
                for g, clipped in zip(gradients, self._problem.clipping.clipped(gradients), strict=True):
                    g.copy_(clipped)
        with self._accumulation.one_step():
            self.inner_optimizer.step()
        if self.inner_scheduler is not None and not isinstance(self.inner_scheduler, ReduceLROnPlateau):
            self.inner_scheduler.step()
        self.inner_steps += 1

    def _estimate(self, train_batch: Any, val_batch: Any) -> Tensor:
        """Returns g `[N]`."""
        self._forget()
        with kept_attributes(self._problem.model):
            g = self.estimator(self._problem, self._flat(), train_batch, val_batch).detach()
        self._say_if_not_certified()
        return g

    def _forget(self) -> None:
        """Clears what the problem recorded about one hypergradient."""
        self._follow_lambda()
        self._problem.values.clear()
        self._problem.certificate = None

    @property
    def certificate(self) -> Certificate:
        """The certificate of the last hypergradient: how accurate it is."""
        if self._problem.certificate is not None:
            return self._problem.certificate
        return Certificate(math.nan, str(self._trajectory[0].dtype).removeprefix("torch."), certified=True)

    def _say_if_not_certified(self) -> None:
        """Warns of the first hypergradient that is not certified."""
        certificate = self.certificate
        if not certificate.certified and not self._has_warned and math.isfinite(self._losses()):
            self._has_warned = True
            warnings.warn(not_certified(certificate), UncertifiedWarning, stacklevel=4)

    def _losses(self) -> float:
        """The sum of the losses that the last hypergradient evaluated, on this rank."""
        return sum(float(value) for value in self._problem.values.values())

    def _move(self, g: Tensor, started: float) -> None:
        """Takes the step on λ along g `[N]`, or reports that it was skipped."""
        norm, lambda_ = float(g.norm()), self._flat()
        number = self.outer_steps + self.skipped + 1
        step = f"outer step {number}" + (f" ({self.place})" if self.place else "")
        why = unusable(step, g, norm, math.isfinite(self._problem.ranks.averaged_number(self._losses())))
        if why is None:
            shortened = g * (self.clip / norm) if self.clip is not None and norm > self.clip else g
            active = None if self.active_set is None else self._problem.structure.flatten(self.active)
            if not descend(self.weights, self.outer_optimizer, self._problem.structure, shortened, active):
                why = undone(step, self.outer_optimizer, lambda_.dtype)
        certificate = self.certificate
        losses = {name: float(value) for name, value in self._problem.values.items()}
        row = OuterStep(
            outer_step=number,
            epoch=self.epoch + 1,
            inner_step=self.inner_steps,
            train_loss=losses.get("train_loss", math.nan),
            val_loss=losses.get("val_loss", math.nan),
            g_norm=norm,
            certificate=certificate.error,
            computed_in=certificate.computed_in,
            certified=certificate.certified,
            skipped=why is not None,
            seconds=self.clock.seconds,
            outer_seconds=time.perf_counter() - started,
        )
        self._note(row, lambda_, g)
        if why is not None:
            said = f"{why}; L_train = {row.train_loss:.4g}, L_val = {row.val_loss:.4g}; λ stays as it is"
            if self._skipped_in_a_row >= self.max_skipped:
                raise NonFiniteError(
                    f"{said}. That makes {self._skipped_in_a_row} in a row (max_skipped): training stops"
                )
            warnings.warn(said, NonFiniteWarning, stacklevel=3)

    def state_dict(self) -> dict[str, Any]:
        """Returns θ, λ, both optimizers, the scheduler, counters, history and random generators.

        A run resumed from a state taken between epochs equals an uninterrupted one bit by bit.
        `torch.load(weights_only=True)` reads it.
        """
        return {
            "model": self._problem.model.state_dict(),
            "weights": self.weights.state_dict(),
            "inner_optimizer": self.inner_optimizer.state_dict(),
            "outer_optimizer": self.outer_optimizer.state_dict(),
            "inner_scheduler": None if self.inner_scheduler is None else self.inner_scheduler.state_dict(),
            "progress": self.progress(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from `state`, in a learner built with the same arguments."""
        if (self.inner_scheduler is None) != (state["inner_scheduler"] is None):
            raise ValueError("the state and this learner must both have an inner_scheduler, or neither")
        self._problem.model.load_state_dict(state["model"])
        self.weights.load_state_dict(state["weights"])
        self.inner_optimizer.load_state_dict(state["inner_optimizer"])
        self.outer_optimizer.load_state_dict(state["outer_optimizer"])
        if self.inner_scheduler is not None:
            self.inner_scheduler.load_state_dict(state["inner_scheduler"])
        self.load_progress(state["progress"])
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda_rng"]])
