"""Learn λ while a Lightning Trainer trains θ: `BilevelCallback`. Needs the extra `lightning`."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bilevel_hpo._loop import repeated
from bilevel_hpo.active import ActiveSet
from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients import Hypergradient, RandomState
from bilevel_hpo.learner import BilevelLearner, Weights
from bilevel_hpo.problem import Loss

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError("bilevel_hpo.lightning needs Lightning: pip install 'bilevel-hpo[lightning]'") from error

__all__ = ["BilevelCallback"]

LOGGED = 50
"""The largest number of λ that go to the Trainer's loggers one by one."""


class BilevelCallback(Callback):
    """Learns λ by gradient descent on L_val(θ*(λ), λ) while the Trainer takes the steps on θ.

    Before every `outer_every`-th optimizer step of the Trainer it takes an outer step: λ moves along the hypergradient
    of the step that is about to be taken on that train batch. `training_step` then reads the new λ, for instance with
    `return train_loss(self, weights(), batch)`, where `train_loss` is the function given here. λ, the outer optimizer
    and the history go into the Trainer's checkpoints and come back with `ckpt_path=...`; the resumed run equals an
    uninterrupted one to the bit where nothing draws random numbers (the Trainer does not save the generators). Up to 50
    λ are logged as `lambda/<label>`.

    An outer step costs one plain step more than `BilevelLearner.step`. There, the gradient of the inner step serves the
    hypergradient too; here, the Trainer computes that gradient inside its own loop, for the λ that has already moved,
    so the callback runs forward and backward on the train batch once more.

    Do not use it where you can write the loop yourself or call `BilevelLearner.fit`: that is cheaper, and knows
    gradient accumulation and estimators that look several steps ahead (here they see the one batch in every step).
    Nor where the Trainer does to the gradient what no estimator sees: clipping (`gradient_clip_val`) and hooks that
    change it are not part of the differentiated step. Refused: gradient accumulation, manual optimization, a gradient
    scaler (16-mixed), compiled modules, sharded ones.

    `weights` may be a submodule of the LightningModule; then `configure_optimizers` must leave them out. In
    DistributedDataParallel each rank draws from its own `val_batches`: give each its share.

    Args:
        weights: as in `BilevelLearner`; moved to the device of the LightningModule.
        train_loss: (lightning_module, λ, batch) ↦ L_train, the scalar that `training_step` returns. It should not log.
        val_loss: (lightning_module, λ, batch) ↦ L_val, a scalar. Called with the module in eval mode.
        val_batches: for the outer steps; anything that can be iterated again and again (a DataLoader, a list; not a
            generator), repeated where it runs out. They go to the device by the LightningModule's own hooks. Where
            they have a length, a resumed run goes on with the one that was next.
        outer_every: n: every n-th optimizer step is preceded by an outer step.
        warm_up: optimizer steps before the first outer step.
        hypergradient: as in `BilevelLearner`, and so are the next five. Under autocast (bf16-mixed) use `OneStep()`.
        outer_optimizer: steps on `weights.parameters()`.
        clip: the largest norm of the hypergradient.
        active: which λ take part in an outer step.
        lambda_terms: the terms of L_train that name λ.
        max_skipped: stop after that many hypergradients in a row that are not finite.
    """

    def __init__(
        self,
        weights: Weights,
        train_loss: Loss,
        val_loss: Loss,
        val_batches: Iterable[Any],
        *,
        outer_every: int = 8,
        warm_up: int = 0,
        hypergradient: Hypergradient | None = None,
        outer_optimizer: torch.optim.Optimizer | None = None,
        clip: float | None = None,
        active: ActiveSet | None = None,
        lambda_terms: Loss | None = None,
        max_skipped: int = 10,
    ) -> None:
        if isinstance(outer_every, bool) or not isinstance(outer_every, int) or outer_every < 1:
            raise ValueError(f"outer_every={outer_every!r}: an integer >= 1 is wanted")
        if warm_up < 0:
            raise ValueError(f"warm_up={warm_up}: optimizer steps before the first outer step, 0 or more, are wanted")
        if isinstance(val_batches, Iterator):
            raise TypeError("val_batches is an iterator, good for one pass only; pass a DataLoader or a list")
        self.weights, self.train_loss, self.val_loss, self.val_batches = weights, train_loss, val_loss, val_batches
        self.outer_every, self.warm_up = outer_every, warm_up
        self.hypergradient, self.outer_optimizer, self.clip = hypergradient, outer_optimizer, clip
        self.active, self.lambda_terms, self.max_skipped = active, lambda_terms, max_skipped
        self._learner: _Follower | None = None
        self._validation: Iterator[tuple[int, Any]] | None = None
        self._state: dict[str, Any] = {}  # from a checkpoint, until there is a learner
        self._stage = "fit"

    @property
    def learner(self) -> BilevelLearner:
        """The learner behind the callback, from the start of `Trainer.fit` on. Its `epochs` stay empty."""
        return self._follower

    @property
    def history(self) -> pd.DataFrame:
        """One row per outer step, see `BilevelLearner.history`."""
        return self._follower.history

    @property
    def _follower(self) -> "_Follower":
        if self._learner is None:
            raise RuntimeError(
                "there is no learner yet: Trainer.fit makes it, for the optimizer of the LightningModule"
            )
        return self._learner

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Of the Trainer: `stage` says what it is about to do."""
        self._stage = stage

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of the Trainer: makes the learner, and takes over what a checkpoint or an earlier `fit` left."""
        state = self.state_dict()
        _check(trainer, pl_module, self.weights)
        cast(nn.Module, self.weights).to(pl_module.device)
        context = trainer.precision_plugin.forward_context
        self._learner = _Follower(
            trainer.model if isinstance(trainer.model, DistributedDataParallel) else pl_module,
            trainer.optimizers[0],
            self.weights,
            train_loss=_within(context, self.train_loss),
            val_loss=_within(context, self.val_loss),
            hypergradient=self.hypergradient,
            outer_optimizer=self.outer_optimizer,
            clip=self.clip,
            active=self.active,
            lambda_terms=None if self.lambda_terms is None else _within(context, self.lambda_terms),
            max_skipped=self.max_skipped,
        )
        self.outer_optimizer = self._learner.outer_optimizer
        self.load_state_dict(state)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of the Trainer: notes the last λ, and stops the clock."""
        self._follower.note(trainer.current_epoch, trainer.global_step)
        self._follower.stop()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Of the Trainer: the outer step, where one is due."""
        _check_accumulation(trainer)
        learner, step = self._follower, trainer.global_step
        learner.note(trainer.current_epoch, step)  # at every batch: a resumed epoch has no on_train_epoch_start
        if step == 0 and self.warm_up > 0:  # what cannot work fails before any training
            with RandomState():
                rehearsal = next(repeated(self.val_batches))[1]
            learner.hypergradient(batch, _on_device(trainer, rehearsal))
        if step < self.warm_up or (step - self.warm_up) % self.outer_every:
            return
        if self._validation is None:
            self._validation = repeated(self.val_batches, start=learner.outer_steps + learner.skipped)
        number, val_batch = next(self._validation)
        learner.place = f"epoch {learner.epoch + 1}, train batch {batch_idx + 1}, validation batch {number + 1}"
        learner.outer_step(batch, _on_device(trainer, val_batch))
        if len(learner.labels) <= LOGGED and not trainer.barebones:
            lambda_ = learner.flat()
            pl_module.log_dict({f"lambda/{n}": lambda_[i] for i, n in enumerate(learner.labels)}, on_step=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Of the Trainer: lets go of the validation batches."""
        self._validation, self._stage = None, "fit"

    def state_dict(self) -> dict[str, Any]:
        """λ, the outer optimizer, and what the learner has counted and noted."""
        if self._learner is None:
            return self._state
        return {
            "weights": self.weights.state_dict(),
            "outer_optimizer": self._learner.outer_optimizer.state_dict(),
            "progress": self._learner.progress(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from `state_dict`; what belongs to the learner waits until there is one.

        Outside of `Trainer.fit` it takes λ only, as the Trainer then takes θ only.
        """
        if not state_dict:
            return
        self.weights.load_state_dict(state_dict["weights"])
        if self._stage != "fit":
            return
        if self._learner is None:
            self._state = state_dict
            return
        self._learner.outer_optimizer.load_state_dict(state_dict["outer_optimizer"])
        self._learner.load_progress(state_dict["progress"])
        self._validation = None


class _Follower(BilevelLearner):
    """A learner whose inner steps somebody else takes."""

    _running = True

    @property
    def labels(self) -> list[str]:
        """The names of the entries of λ."""
        return self._history.labels

    @property
    def place(self) -> str:
        """Where an outer step falls, for the report that it has failed."""
        return self._place

    @place.setter
    def place(self, place: str) -> None:
        self._place = place

    def flat(self) -> Tensor:
        """λ `[N]`, detached."""
        return self._flat()

    def note(self, epoch: int, inner_steps: int) -> None:
        """Note what is done: `epoch` epochs and `inner_steps` steps, and λ as the last epoch has left it."""
        self.epoch, self.inner_steps = epoch, inner_steps
        while len(self._trajectory) <= epoch:
            self._trajectory.append(self._flat().cpu())

    def stop(self) -> None:
        """What is noted from now on is not training time."""
        self.progress()
        self._running = False

    def progress(self) -> dict[str, Any]:
        """With the time up to now, which `fit` would add at the end of an epoch."""
        now = time.perf_counter()
        if self._running:
            self._seconds += now - self._started
        self._started = now
        return super().progress()


def _check(trainer: Trainer, pl_module: LightningModule, weights: Weights) -> None:
    """UnsupportedError for what the Trainer does and no estimator can follow."""
    if len(trainer.optimizers) != 1:
        raise UnsupportedError(
            f"the LightningModule has {len(trainer.optimizers)} optimizers; BilevelCallback differentiates the step of "
            "one: return one optimizer, with several parameter groups if need be"
        )
    if not pl_module.automatic_optimization:
        raise UnsupportedError(
            "with automatic_optimization=False the callback cannot know which step comes next; use BilevelLearner in "
            "your own loop"
        )
    _check_accumulation(trainer)
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        raise UnsupportedError(
            f"precision={trainer.precision!r} scales the loss to save small gradients, and the hypergradient would be "
            "that of a loss without scale; use precision='bf16-mixed' or '32-true'"
        )
    if getattr(pl_module, "_compiler_ctx", None) is not None:
        raise UnsupportedError("the LightningModule is compiled; pass it to Trainer.fit as it was before torch.compile")
    if trainer.world_size > 1 and not isinstance(trainer.model, DistributedDataParallel):
        raise UnsupportedError(
            f"strategy {type(trainer.strategy).__name__} has {trainer.world_size} processes without "
            "DistributedDataParallel; use strategy='ddp'"
        )
    raw = {id(p) for p in cast(nn.Module, weights).parameters()}
    if any(id(p) in raw for group in trainer.optimizers[0].param_groups for p in group["params"]):
        raise UnsupportedError(
            "the optimizer of the LightningModule steps on the parameters of `weights`, too; leave them out in "
            "configure_optimizers, for instance Adam(self.net.parameters())"
        )


def _check_accumulation(trainer: Trainer) -> None:
    """A scheduler of the Trainer may change it between epochs."""
    if trainer.accumulate_grad_batches != 1:
        raise UnsupportedError(
            f"accumulate_grad_batches={trainer.accumulate_grad_batches}: the callback sees one batch at a time and "
            "would differentiate a step that is never taken; use larger batches, or BilevelLearner.fit(accumulate=...)"
        )


def _within(context: Callable[[], AbstractContextManager[None]], loss: Loss) -> Loss:
    """`loss`, evaluated inside the Trainer's precision context, as `training_step` is; its gradients are not."""

    def in_context(model: Any, lambda_: Any, batch: Any) -> Tensor:
        with context():
            return loss(model, lambda_, batch)

    return in_context


def _on_device(trainer: Trainer, batch: Any) -> Any:
    """`batch` in the precision and on the device of the train batches."""
    return trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
