"""Learn λ from validation loss while the model trains: inner steps on θ, outer steps on λ."""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, Literal, Protocol, cast

import pandas as pd
import torch
from torch import Tensor, nn

from bilevel_hpo._loop import grouped, lookahead, repeated
from bilevel_hpo._stopwatch import Stopwatch
from bilevel_hpo.active import ActiveSet
from bilevel_hpo.batches import StepBatches, parts
from bilevel_hpo.citations import BIBTEX
from bilevel_hpo.errors import NonFiniteError, NonFiniteWarning, UnsupportedError
from bilevel_hpo.history import Epoch, History, OuterStep
from bilevel_hpo.hypergradients import FiniteDifference, Hypergradient, OfOneStep, RandomState, taken_step
from bilevel_hpo.problem import BilevelProblem, Loss, checked_scalar, eval_mode
from bilevel_hpo.structure import Lambda

__all__ = ["BilevelLearner", "Weights"]


class Weights(Protocol):
    """What the learner asks of `weights`: a module whose call gives λ; `TransferRatios` and `LossWeights` are such.

    It may have `labels`, names of the entries of λ, for the columns of the history.
    """

    def __call__(self) -> Lambda:
        """λ, a function of the module's parameters."""

    def project_(self) -> None:
        """Move the parameters back into the constraint, in place."""

    def state_dict(self) -> dict[str, Any]:
        """As of `nn.Module`."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """As of `nn.Module`."""


class BilevelLearner:
    """Learns λ by gradient descent on L_val(θ*(λ), λ) (paper, Eq. 13) during one training of θ.

    Args:
        model: holds θ; bare or in `torch.nn.parallel.DistributedDataParallel`.
        inner_optimizer: steps on θ; any parameter groups. The estimators that look ahead know SGD, Adam, AdamW,
            RMSprop, Adagrad, NAdam and RAdam; `Direct` and the implicit ones take any that steps without a closure.
        weights: `TransferRatios`, `LossWeights`, `WeightsDict`, or any module whose call gives λ (a tensor, or a tuple
            or dict of tensors) and that has `project_`.
        train_loss: (model, λ, batch) ↦ L_train(θ, λ), a scalar. λ is what `weights()` gives; it may enter in any smooth
            way.
        val_loss: (model, λ, batch) ↦ L_val(θ, λ), a scalar. Called with the model in eval mode.
        hypergradient: the estimator of dL_val/dλ; `FiniteDifference()` when left out.
        outer_optimizer: steps on `weights.parameters()`; Adam with lr=0.02 when left out.
        inner_scheduler: stepped after every inner step, and saved with the rest.
        clip: the largest norm of g; a longer one is shortened to it.
        active: which λ take part in an outer step; all when left out.
        lambda_terms: (model, λ, batch) ↦ the terms of L_train that name λ, drawing the same random numbers; the
            directional derivative of `OneStep` and `FiniteDifference` needs no others, which may save much of its
            time. All of `train_loss` when left out.
        max_skipped: stop with `NonFiniteError` after that many hypergradients in a row that are not finite.

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
        clip: float | None = None,
        active: ActiveSet | None = None,
        lambda_terms: Loss | None = None,
        max_skipped: int = 10,
    ) -> None:
        if clip is not None and not clip > 0:
            raise ValueError(f"clip={clip}: a positive norm is wanted")
        if max_skipped < 1:
            raise ValueError(f"max_skipped={max_skipped}: at least 1 is wanted")
        self.model, self.inner_optimizer, self.weights = model, inner_optimizer, weights
        self.train_loss, self.val_loss = train_loss, val_loss
        self.estimator = FiniteDifference() if hypergradient is None else hypergradient
        raw = list(cast(nn.Module, weights).parameters())
        self.outer_optimizer = torch.optim.Adam(raw, lr=0.02) if outer_optimizer is None else outer_optimizer
        self.inner_scheduler, self.clip, self.active_set, self.max_skipped = inner_scheduler, clip, active, max_skipped
        held = {id(p) for group in self.outer_optimizer.param_groups for p in group["params"]}
        if held != {id(p) for p in raw}:
            raise ValueError("outer_optimizer must hold the parameters of `weights`, all of them and no others")
        if isinstance(inner_optimizer, torch.optim.LBFGS):
            raise UnsupportedError(
                "inner optimizer LBFGS evaluates the loss several times a step; use SGD, Adam or AdamW"
            )
        self._problem = BilevelProblem(model, inner_optimizer, train_loss, val_loss, weights(), lambda_terms)
        self.estimator.check(self._problem)
        if active is not None and [p.shape for p in raw] != self._problem.structure.shapes:
            raise ValueError("active=... needs `weights` whose parameters have the shapes of λ, in the same order")
        self._problem.ranks.broadcast_(raw)
        self.epoch = self.inner_steps = self.outer_steps = self.skipped = self._skipped_in_a_row = 0
        self._epochs: list[Epoch] = []
        self._trajectory = [self._flat().cpu()]
        labels = getattr(weights, "labels", None) or [str(i) for i in range(len(self._trajectory[0]))]
        self.labels: list[str] = list(labels)
        """The names of the entries of λ."""
        self._history = History(self.labels)
        self.place = ""
        """Where the next outer step falls ("epoch 1, train batch 3"), for the report that it has failed."""
        self.clock = Stopwatch()
        """The time of training; `fit` runs it during its epochs."""

    @property
    def history(self) -> pd.DataFrame:
        """One row per outer step: the fields of `OuterStep`, then λ before the step and its hypergradient g, in columns
        `lambda:<label>` and `g:<label>`. In a long training every second, fourth, … outer step (see `History`)."""
        return self._history.to_frame(list(OuterStep.__annotations__))

    @property
    def epochs(self) -> pd.DataFrame:
        """One row per epoch, see `Epoch`."""
        return pd.DataFrame([asdict(epoch) for epoch in self._epochs], columns=list(Epoch.__annotations__))

    @property
    def trajectory(self) -> Lambda:
        """λ at the start and after every epoch, `[epochs + 1, *λ.shape]`; a tuple or dict of such where λ is one."""
        return self._problem.structure.unflatten(torch.stack(self._trajectory))

    @property
    def active(self) -> Lambda:
        """True for the λ that take part in the next outer step, shaped like `weights()`."""
        lambda_ = self._flat()
        everyone = torch.ones_like(lambda_, dtype=torch.bool)
        mask = everyone if self.active_set is None else self.active_set.mask(lambda_, self.outer_steps + self.skipped)
        return self._problem.structure.unflatten(mask)

    def citation(self) -> str:
        """BibTeX of the methods in use."""
        return "\n\n".join(BIBTEX[key] for key in ("bilevel_hpo", *self.estimator.references))

    def inner_step(self, batch: Any) -> Tensor:
        """One ordinary optimizer step on θ; the loss before it. `MicroBatches` accumulate their gradients."""
        loss = self._backward(self._flat(), batch)
        self.inner_optimizer.step()
        self._after_inner_step()
        return loss

    def hypergradient(self, train_batch: Any, val_batch: Any) -> Lambda:
        """dL_val/dλ in λ itself, before the constraint's chain rule; shaped like `weights()`. Changes nothing."""
        return self._problem.structure.unflatten(self._estimate(train_batch, val_batch))

    def outer_step(self, train_batch: Any, val_batch: Any) -> Lambda:
        """One step on λ; the hypergradient it used, before clipping.

        One that is not finite changes nothing, is counted in `skipped` and warned of; `NonFiniteError` after
        `max_skipped` in a row.
        """
        started = time.perf_counter()
        g = self._estimate(train_batch, val_batch)
        self._move(g, started)
        return self._problem.structure.unflatten(g)

    def step(self, train_batch: Any, val_batch: Any) -> Tensor:
        """One inner step on θ, and one outer step on λ by the hypergradient of that same step; the loss before both.

        `OneStep` and `FiniteDifference` take over the gradient of the inner step instead of computing it again: that
        makes this the cheap way to learn λ, and the one `fit` uses. Other estimators look at θ before the step.
        """
        started = time.perf_counter()
        if isinstance(self.estimator, OfOneStep):
            self._problem.values.clear()
            taken = taken_step(
                self._problem, self._flat(), train_batch, lambda lambda_: self._backward(lambda_, train_batch)
            )
            self._problem.values["train_loss"] = loss = taken.loss
            g = self.estimator.of(self._problem, taken, val_batch)
            self._after_inner_step()
        else:
            g = self._estimate(train_batch, val_batch)
            loss = self.inner_step(train_batch[0] if isinstance(train_batch, StepBatches) else train_batch)
        self._move(g, started)
        return loss

    def follow(self, epoch: int, inner_steps: int) -> None:
        """Note what is done where somebody else takes the inner steps, and λ as the last epoch has left it.

        Args:
            epoch: epochs that are finished.
            inner_steps: inner steps in all.
        """
        self.epoch, self.inner_steps = epoch, inner_steps
        while len(self._trajectory) <= epoch:
            self._trajectory.append(self._flat().cpu())

    def validate(self, batches: Iterable[Any]) -> float:
        """Mean of L_val over `batches` at the present θ and λ, without a gradient."""
        lambda_ = self._problem.structure.unflatten(self._flat())
        with torch.no_grad(), eval_mode(self.model):
            losses = [self.val_loss(self.model, lambda_, batch).item() for batch in batches]
        return sum(losses) / len(losses)

    def fit(
        self,
        train_batches: Iterable[Any],
        val_batches: Iterable[Any],
        epochs: int,
        outer_every: Literal["epoch"] | int | None = 8,
        callbacks: Iterable[Callable[["BilevelLearner"], object]] = (),
        *,
        warm_up: int = 0,
        accumulate: int = 1,
    ) -> "BilevelLearner":
        """Train until `epochs` epochs are done in all; a learner that was loaded goes on where it stood.

        Args:
            train_batches: iterated once per epoch for the inner steps (a DataLoader, a list; not a generator), and
                once more per pass of outer steps under outer_every="epoch".
            val_batches: likewise, for the outer steps; repeated where it runs out.
            epochs: the epochs to reach, those before a resume counted in.
            outer_every: n: every n-th inner step, counted through all epochs, is an outer step too (`step`).
                "epoch": after each epoch one pass over the validation batches, an outer step on each (the paper's
                schedule). None: λ stays as it is.
            callbacks: each is called with the learner at the end of every epoch.
            warm_up: inner steps before the first outer step.
            accumulate: train batches per inner step; their gradients are averaged.

        Returns:
            The learner.
        """
        _check_schedule(outer_every, warm_up, accumulate)
        for name, batches in (("train_batches", train_batches), ("val_batches", val_batches)):
            if isinstance(batches, Iterator):
                raise TypeError(f"{name} is an iterator, good for one pass only; pass a DataLoader or a list")
        while self.epoch < epochs:
            self._one_epoch(train_batches, val_batches, outer_every, warm_up, accumulate)
            for callback in callbacks:
                callback(self)
        return self

    def _one_epoch(
        self,
        train_batches: Iterable[Any],
        val_batches: Iterable[Any],
        outer_every: Literal["epoch"] | int | None,
        warm_up: int,
        accumulate: int,
    ) -> None:
        self.clock.start()
        outer_before, skipped_before = self.outer_steps, self.skipped
        losses: list[Tensor] = []
        every = outer_every if isinstance(outer_every, int) else None
        validation = repeated(val_batches, start=self.outer_steps + self.skipped)
        steps = self.estimator.steps
        for number, ahead in enumerate(lookahead(grouped(train_batches, accumulate), steps)):
            if self.inner_steps == 0 and outer_every is not None:  # what cannot work fails before any training
                with RandomState():
                    rehearsal = next(repeated(val_batches))[1]
                self._estimate(self._steps(ahead), rehearsal)
            if every is not None and self.inner_steps >= warm_up and (self.inner_steps - warm_up) % every == 0:
                val_number, val_batch = next(validation)
                self.place = f"epoch {self.epoch + 1}, train batch {number + 1}, validation batch {val_number + 1}"
                losses.append(self.step(self._steps(ahead), val_batch))
            else:
                losses.append(self.inner_step(ahead[0]))
        if outer_every == "epoch" and self.inner_steps > warm_up:
            again = repeated(_Grouped(train_batches, accumulate))
            for val_number, val_batch in enumerate(val_batches):
                numbered = [next(again) for _ in range(steps)]
                self.place = (
                    f"epoch {self.epoch + 1}, train batch {numbered[0][0] + 1}, validation batch {val_number + 1}"
                )
                self.outer_step(self._steps([batch for _, batch in numbered]), val_batch)
        self.place = ""
        if not losses:
            raise ValueError("train_batches gave no batch")
        self.clock.stop()
        self.epoch += 1
        self._trajectory.append(self._flat().cpu())
        self._epochs.append(
            Epoch(
                epoch=self.epoch,
                train_loss=float(torch.stack(losses).mean()),
                outer_steps=self.outer_steps - outer_before,
                skipped=self.skipped - skipped_before,
                seconds=self.clock.seconds,
            )
        )

    def _steps(self, batches: list[Any]) -> Any:
        """What the estimator wants: one batch, or one for each of its steps (repeated where an epoch ends)."""
        steps = self.estimator.steps
        return batches[0] if steps == 1 else StepBatches(batches[i % len(batches)] for i in range(steps))

    def _flat(self) -> Tensor:
        """λ `[N]`, detached."""
        return self._problem.structure.flatten(self.weights()).detach().clone()

    def _backward(self, lambda_: Tensor, batch: Any) -> Tensor:
        """Puts ∂L_train/∂θ into the parameters' `grad` (and ∂L_train/∂λ, if λ `[N]` asks for it); L_train."""
        self.inner_optimizer.zero_grad()
        micro = parts(batch)
        total = torch.zeros((), dtype=lambda_.dtype, device=lambda_.device)
        for number, part in enumerate(micro, 1):
            with self._problem.ranks.synchronised(number == len(micro)):
                weights = self._problem.structure.unflatten(lambda_)
                loss = checked_scalar(self.train_loss(self.model, weights, part), "train_loss") / len(micro)
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _after_inner_step(self) -> None:
        if self.inner_scheduler is not None:
            self.inner_scheduler.step()
        self.inner_steps += 1

    def _estimate(self, train_batch: Any, val_batch: Any) -> Tensor:
        """g `[N]`."""
        self._problem.values.clear()
        return self.estimator(self._problem, self._flat(), train_batch, val_batch).detach()

    def _move(self, g: Tensor, started: float) -> None:
        """The step on λ along g `[N]`, or the report that there is none."""
        norm = float(g.norm())  # not finite as soon as one entry is not
        finite, lambda_ = math.isfinite(norm), self._flat()
        if finite:
            self._descend(g, norm)
        losses = {name: float(value) for name, value in self._problem.values.items()}
        row = OuterStep(
            outer_step=self.outer_steps + self.skipped + 1,
            epoch=self.epoch + 1,
            inner_step=self.inner_steps,
            train_loss=losses.get("train_loss", math.nan),
            val_loss=losses.get("val_loss", math.nan),
            g_norm=norm,
            skipped=not finite,
            seconds=self.clock.seconds,
            outer_seconds=time.perf_counter() - started,
        )
        self._history.add(dict(vars(row)), lambda_, g)
        if finite:
            self.outer_steps += 1
            self._skipped_in_a_row = 0
        else:
            self.skipped += 1
            self._skipped_in_a_row += 1
            self._report(row, int((~g.isfinite()).sum()), g.numel())

    def _descend(self, g: Tensor, norm: float) -> None:
        """One step of the outer optimizer along g `[N]`."""
        if self.clip is not None and norm > self.clip:
            g = g * (self.clip / norm)
        structure = self._problem.structure
        self.outer_optimizer.zero_grad()
        pairs = zip(structure.parts(self.weights()), structure.parts(structure.unflatten(g)), strict=True)
        learned = [(part, gi) for part, gi in pairs if part.requires_grad]
        torch.autograd.backward([part for part, _ in learned], [gi for _, gi in learned])
        resting: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        if self.active_set is not None:
            raw = cast(nn.Module, self.weights).parameters()
            for p, mask in zip(raw, structure.parts(self.active), strict=True):
                resting.append((p, ~mask, p.detach().clone()))
                if p.grad is not None:
                    p.grad[~mask] = 0.0
        self.outer_optimizer.step()
        with torch.no_grad():
            for p, mask, before in resting:  # Adam's momentum would move them still
                p.copy_(torch.where(mask, before, p))
        self.weights.project_()

    def _report(self, row: OuterStep, bad: int, n: int) -> None:
        where = f" ({self.place})" if self.place else ""
        said = (
            f"the hypergradient of outer step {row.outer_step}{where} is not finite in {bad} of {n} entries; "
            f"L_train = {row.train_loss:.4g}, L_val = {row.val_loss:.4g}; λ stays as it is"
        )
        if self._skipped_in_a_row >= self.max_skipped:
            raise NonFiniteError(f"{said}. It is the {self._skipped_in_a_row}th in a row (max_skipped): training stops")
        warnings.warn(said, NonFiniteWarning, stacklevel=4)

    def state_dict(self) -> dict[str, Any]:
        """θ, λ, both optimizers, the scheduler, counters, history and random generators; taken between epochs, a run
        resumed from it equals an uninterrupted one to the bit. `torch.load(weights_only=True)` reads it."""
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
        """Go on from `state`, in a learner built with the same arguments."""
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

    def progress(self) -> dict[str, Any]:
        """What the learner itself has counted and noted: the part of `state_dict` that is nobody else's."""
        return {
            "counters": {**{name: getattr(self, name) for name in _COUNTERS}, "_seconds": self.clock.seconds},
            "epochs": [asdict(epoch) for epoch in self._epochs],
            "history": self._history.state_dict(),
            "trajectory": torch.stack(self._trajectory),
        }

    def load_progress(self, progress: dict[str, Any]) -> None:
        """Go on counting from `progress`."""
        for name in _COUNTERS:
            setattr(self, name, progress["counters"][name])
        self._epochs = [Epoch(**row) for row in progress["epochs"]]
        self._history.load_state_dict(progress["history"])
        self._trajectory = list(progress["trajectory"])
        self.clock.reset(progress["counters"]["_seconds"])


_COUNTERS = ("epoch", "inner_steps", "outer_steps", "skipped", "_skipped_in_a_row")


class _Grouped:
    """`grouped` that can be iterated again and again."""

    def __init__(self, batches: Iterable[Any], n: int) -> None:
        self._batches, self._n = batches, n

    def __iter__(self) -> Iterator[Any]:
        return grouped(self._batches, self._n)


def _check_schedule(outer_every: object, warm_up: int, accumulate: int) -> None:
    if outer_every not in ("epoch", None) and (
        isinstance(outer_every, bool) or not isinstance(outer_every, int) or outer_every < 1
    ):
        raise ValueError(f"outer_every={outer_every!r}: 'epoch', an integer >= 1 or None is wanted")
    if warm_up < 0:
        raise ValueError(f"warm_up={warm_up}: inner steps before the first outer step, 0 or more, are wanted")
    if accumulate < 1:
        raise ValueError(f"accumulate={accumulate}: train batches per inner step, 1 or more, are wanted")
