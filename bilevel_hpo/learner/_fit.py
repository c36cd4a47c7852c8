"""The loop behind `BilevelLearner.fit`: epochs of inner steps, and outer steps according to the schedule."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bilevel_hpo.batches import StepBatches
from bilevel_hpo.hypergradients import RandomState
from bilevel_hpo.learner._loop import Grouped, length, lookahead, repeated
from bilevel_hpo.learner._progress import Display

if TYPE_CHECKING:
    from bilevel_hpo.learner._learner import BilevelLearner

__all__ = ["Callback", "Fit", "OuterEvery", "Schedule"]

Callback = Callable[["BilevelLearner"], object]
OuterEvery = Literal["epoch"] | int | None


@dataclass(frozen=True)
class Schedule:
    """The schedule of outer steps and the batches per inner step; its fields are arguments of `fit`."""

    outer_every: OuterEvery = 8
    warm_up: int = 0
    accumulate: int = 1

    def __post_init__(self) -> None:
        every = self.outer_every
        if every not in ("epoch", None) and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise ValueError(f"outer_every must be 'epoch', an integer >= 1 or None; got {every!r}")
        if self.warm_up < 0:
            raise ValueError(f"warm_up, inner steps before the first outer step, must be 0 or more; got {self.warm_up}")
        if self.accumulate < 1:
            raise ValueError(f"accumulate, train batches per inner step, must be 1 or more; got {self.accumulate}")

    def shares(self, inner_steps: int) -> bool:
        """Whether the inner step that follows `inner_steps` others is an outer step too."""
        after = inner_steps - self.warm_up
        return isinstance(self.outer_every, int) and after >= 0 and after % self.outer_every == 0

    def passes(self, inner_steps: int) -> bool:
        """Whether an epoch that ends after `inner_steps` is followed by a pass of outer steps."""
        return self.outer_every == "epoch" and inner_steps > self.warm_up


class Fit:
    """One call of `BilevelLearner.fit`; the arguments and the errors are explained there."""

    _display: Display

    def __init__(
        self,
        learner: "BilevelLearner",
        train_batches: Iterable[Any],
        val_batches: Iterable[Any],
        schedule: Schedule,
        *,
        callbacks: Iterable[Callback],
        step_callbacks: Iterable[Callback],
        validate: bool,
        progress: bool | None,
    ) -> None:
        self._learner, self._schedule, self._progress = learner, schedule, progress
        self._validate = validate or isinstance(learner.inner_scheduler, ReduceLROnPlateau)
        _check_batches("train_batches", train_batches)
        _check_batches("val_batches", val_batches, needed=schedule.outer_every is not None or self._validate)
        _check_trainable(learner, schedule)
        self._train, self._val = Grouped(train_batches, schedule.accumulate), val_batches
        self._callbacks = _functions("callbacks", callbacks)
        self._step_callbacks = _functions("step_callbacks", step_callbacks)

    def __call__(self, epochs: int) -> None:
        """Trains until the learner has `epochs` epochs, or its `stop` is called."""
        if isinstance(epochs, bool) or not isinstance(epochs, Integral) or epochs < 0:
            raise ValueError(f"epochs, the number to reach, must be an integer >= 0; got {epochs!r}")
        learner = self._learner
        if learner.stopping is not None:
            raise RuntimeError("fit was called while a fit of the same learner is running")
        learner.stopping = False
        try:
            with Display(self._progress, learner, self._train.steps, int(epochs)) as self._display:
                while learner.epoch < epochs and not learner.stopping:
                    self._epoch()
        finally:
            learner.stopping = None
            learner.clock.stop()

    def _epoch(self) -> None:
        learner = self._learner
        self._losses: list[Tensor] = []
        self._val_losses: list[float] = []
        learner.clock.start()
        self._inner_steps()
        if not self._losses:
            raise ValueError(
                f"train_batches gave no batch in epoch {learner.epoch + 1}; it is iterated again in every epoch and "
                "must give at least one each time"
            )
        if self._schedule.passes(learner.inner_steps) and not learner.stopping:
            self._outer_pass()
        learner.place = ""
        train_loss = float(torch.stack(self._losses).mean())
        done = learner.end_epoch(train_loss, self._val_loss(), stopped=bool(learner.stopping))
        if isinstance(learner.inner_scheduler, ReduceLROnPlateau):
            learner.inner_scheduler.step(done.val_loss)
        self._display.epoch()
        for callback in self._callbacks:
            callback(learner)

    def _inner_steps(self) -> None:
        """One pass over the train batches."""
        learner = self._learner
        validation = repeated(self._val, start=learner.outer_steps + learner.skipped)
        for number, ahead in enumerate(lookahead(self._train, learner.estimator.steps)):
            if learner.inner_steps == 0 and self._schedule.outer_every is not None:
                self._rehearse(ahead)
            if self._schedule.shares(learner.inner_steps):
                val_number, val_batch = next(validation)
                learner.place = _place(learner.epoch, number, val_number)
                self._took(learner.step(self._for_estimator(ahead), val_batch), outer=True)
            else:
                self._took(learner.inner_step(ahead[0]), outer=False)
            if learner.stopping:
                break

    def _outer_pass(self) -> None:
        """An outer step on every validation batch, with the train batches from the first on."""
        learner, again = self._learner, repeated(self._train, name="train_batches")
        for val_number, val_batch in enumerate(self._val):
            numbered = [next(again) for _ in range(learner.estimator.steps)]
            learner.place = _place(learner.epoch, numbered[0][0], val_number)
            learner.outer_step(self._for_estimator([batch for _, batch in numbered]), val_batch)
            self._took(None, outer=True)
            if learner.stopping:
                break

    def _rehearse(self, ahead: list[Any]) -> None:
        """Tries what could fail before any training."""
        with RandomState():
            val_batch = next(repeated(self._val))[1]
        self._learner.hypergradient(self._for_estimator(ahead), val_batch)

    def _took(self, loss: Tensor | None, *, outer: bool) -> None:
        """Records and shows the result of a step, and calls the callbacks."""
        if loss is not None:
            self._losses.append(loss)
            self._learner.last_loss = loss
        row = self._learner.last_outer_step if outer else None
        if row is not None and not row.skipped:
            self._val_losses.append(row.val_loss)
        if loss is not None:
            self._display.step()
        for callback in self._step_callbacks:
            callback(self._learner)

    def _val_loss(self) -> float:
        """Returns the validation loss of the epoch (see `Epoch.val_loss`) without any effect on the training."""
        if self._validate:
            with RandomState():
                return self._learner.validate(self._val)
        return sum(self._val_losses) / len(self._val_losses) if self._val_losses else float("nan")

    def _for_estimator(self, batches: list[Any]) -> Any:
        """One batch, or one for each of the estimator's steps (repeated where an epoch ends)."""
        steps = self._learner.estimator.steps
        return batches[0] if steps == 1 else StepBatches(batches[i % len(batches)] for i in range(steps))


def _place(epoch: int, train: int, val: int) -> str:
    return f"epoch {epoch + 1}, train batch {train + 1}, validation batch {val + 1}"


def _check_batches(name: str, batches: object, *, needed: bool = True) -> None:
    if isinstance(batches, Iterator):
        raise TypeError(f"{name} is an iterator, which can be read only once; pass a DataLoader or a list")
    if needed and length(batches) == 0:
        raise ValueError(f"{name} must have at least one batch; it is empty")


def _check_trainable(learner: "BilevelLearner", schedule: Schedule) -> None:
    if not any(p.requires_grad for group in learner.inner_optimizer.param_groups for p in group["params"]):
        raise ValueError(
            "no parameter of inner_optimizer requires a gradient, so no inner step can change the model; "
            "model.requires_grad_() makes its parameters trainable"
        )
    raw = list(cast(nn.Module, learner.weights).parameters())
    if schedule.outer_every is not None and not any(p.requires_grad for p in raw):
        raise ValueError(
            f"outer_every={schedule.outer_every!r}, but no parameter of `weights` requires a gradient, so no outer "
            "step can move λ; pass outer_every=None to train with λ fixed, or call weights.requires_grad_()"
        )


def _functions(name: str, given: Iterable[Callback]) -> tuple[Callback, ...]:
    found = tuple(given) if isinstance(given, Iterable) else (None,)
    for each in found:
        if not callable(each):
            came = type(given if each is None else each).__name__
            raise TypeError(f"{name} must be a list of functions of the learner; got a {came}")
    return found
