"""`BilevelCallback`: outer steps between the optimizer steps of a Lightning Trainer."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bilevel_hpo.hypergradients import Hypergradient, RandomState
from bilevel_hpo.learner import ActiveSet, BilevelLearner, Weights, repeated
from bilevel_hpo.lightning._context import clipping, on_device, within
from bilevel_hpo.lightning._refusals import check, check_accumulation
from bilevel_hpo.lightning._step_check import StepCheck, tolerance
from bilevel_hpo.problem import BilevelProblem, Lambda, Loss, Structure
from bilevel_hpo.signal import Signal, signal

__all__ = ["BilevelCallback"]

LOGGED = 50
"""The largest number of λ that go to the Trainer's loggers one by one."""


class BilevelCallback(Callback):
    """Learns λ by gradient descent on L_val(θ*(λ), λ) while the Trainer takes the steps on θ.

    Before every `outer_every`-th optimizer step of the Trainer it takes an outer step: λ moves along the hypergradient
    of the step that is about to be taken on that train batch. `training_step` then reads the new λ, for instance with
    `return train_loss(self, weights(), batch)`, where `train_loss` is the function given here. λ, the outer optimizer
    and the history are saved in the Trainer's checkpoints and restored with `ckpt_path=...`; the resumed run equals an
    uninterrupted one bit by bit if nothing draws random numbers (the Trainer does not save the generators). Up to 50
    λ are logged as `lambda/<label>`.

    An outer step costs one plain step more than `BilevelLearner.step`. There, the gradient of the inner step is used
    for the hypergradient too; here, the Trainer computes that gradient inside its own loop, for the λ that has
    already moved, so the callback runs forward and backward on the train batch once more.

    The Trainer's clipping (`gradient_clip_val`, `gradient_clip_algorithm`) is part of the differentiated step.
    Modules compiled by `torch.compile` are supported.

    At the outer steps 1, 2, 4, 8, … the callback checks that the Trainer takes the differentiated step (and in the
    first step of a warm-up): the gradient that the optimizer uses must be ∂L_train/∂θ of `train_loss` at the current
    λ, up to rounding. It is not if `training_step` never reads λ or returns another loss, or if a hook changes
    the gradient. A check costs one forward and one backward pass and draws no random numbers.

    Do not use the callback if you can write the loop yourself or call `BilevelLearner.fit`: that is cheaper, and
    supports gradient accumulation and estimators that look several steps ahead (here they use one batch in every
    step).

    `weights` may be a submodule of the LightningModule; then `configure_optimizers` must leave them out. In
    DistributedDataParallel each rank draws from its own `val_batches`: give each its share.

    Args:
        weights: the λ module, as in `BilevelLearner`; moved to the device of the LightningModule.
        train_loss: (lightning_module, λ, batch) ↦ L_train, the scalar that `training_step` returns. It may log:
            only the call in `training_step` counts.
        val_loss: (lightning_module, λ, batch) ↦ L_val, a scalar. It is called with the module in eval mode.
        val_batches: the batches of the outer steps; anything that can be iterated repeatedly (a DataLoader, a list;
            not a generator), repeated when exhausted. The LightningModule's own hooks move them to the device. If
            they have a length, a resumed run continues with the next one.
        outer_every: n; every n-th optimizer step is preceded by an outer step.
        warm_up: the number of optimizer steps before the first outer step.
        hypergradient: the estimator, as in `BilevelLearner`, and so are the next five.
        outer_optimizer: the optimizer of `weights.parameters()`.
        clip: the largest norm of the hypergradient.
        active: the rule that selects the λ of an outer step.
        lambda_terms: the terms of L_train that depend on λ.
        max_skipped: the training stops after this many non-finite hypergradients in a row.
        check_step: whether to check the step as described above. Pass False if `training_step` is meant to differ from
            `train_loss`, and the hypergradient of the latter is accurate enough.

    Raises:
        UnsupportedError: during `Trainer.fit`, if the step is another one (see above), and for anything that no
            estimator
            supports: several optimizers, manual optimization, gradient accumulation, the gradient scaler of
            precision="16-mixed", an overridden `configure_gradient_clipping`, sharded parameters.
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
        check_step: bool = True,
    ) -> None:
        if isinstance(outer_every, bool) or not isinstance(outer_every, int) or outer_every < 1:
            raise ValueError(f"outer_every must be an integer >= 1; got {outer_every!r}")
        if warm_up < 0:
            raise ValueError(f"warm_up, optimizer steps before the first outer step, must be 0 or more; got {warm_up}")
        if isinstance(val_batches, Iterator):
            raise TypeError("val_batches is an iterator, which can be read only once; pass a DataLoader or a list")
        self.weights, self.train_loss, self.val_loss, self.val_batches = weights, train_loss, val_loss, val_batches
        self.outer_every, self.warm_up = outer_every, warm_up
        self.outer_optimizer, self.clip, self.active_set = outer_optimizer, clip, active
        self.lambda_terms, self.max_skipped, self.check_step = lambda_terms, max_skipped, check_step
        self._hypergradient = hypergradient
        self._learner: BilevelLearner | None = None
        self._validation: Iterator[tuple[int, Any]] | None = None
        self._check: StepCheck | None = None
        self._state: dict[str, Any] = {}  # from a checkpoint, until there is a learner
        self._stage = "fit"

    @property
    def learner(self) -> BilevelLearner:
        """The learner behind the callback, from the start of `Trainer.fit` on. Its `epochs` stay empty."""
        if self._learner is None:
            raise RuntimeError(
                "there is no learner yet: Trainer.fit makes it, for the optimizer of the LightningModule"
            )
        return self._learner

    @property
    def estimator(self) -> Hypergradient:
        """The estimator of dL_val/dλ (see `BilevelLearner`)."""
        return self.learner.estimator

    @property
    def history(self) -> pd.DataFrame:
        """One row per outer step (see `BilevelLearner.history`)."""
        return self.learner.history

    @property
    def trajectory(self) -> Lambda:
        """λ at the start and after every epoch (see `BilevelLearner.trajectory`)."""
        return self.learner.trajectory

    def signal(self, **options: Any) -> Signal:
        """Tests whether the hypergradients exceed the noise of the batches (see `bilevel_hpo.signal.signal`)."""
        return signal(self.history, cast(nn.Module, self.weights), **options)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prepares a run of the Trainer (its hook); `stage` says which kind."""
        self._stage = stage

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the learner, and restores the state of a checkpoint or an earlier `fit` (a Trainer hook)."""
        state = self.state_dict()
        check(trainer, pl_module, self.weights)
        cast(nn.Module, self.weights).to(pl_module.device)
        model = trainer.model if isinstance(trainer.model, DistributedDataParallel) else pl_module
        train_loss = within(trainer, pl_module, self.train_loss)
        val_loss = within(trainer, pl_module, self.val_loss)
        self._learner = BilevelLearner(
            model,
            trainer.optimizers[0],
            self.weights,
            train_loss=train_loss,
            val_loss=val_loss,
            hypergradient=self._hypergradient,
            outer_optimizer=self.outer_optimizer,
            inner_clip=clipping(trainer),
            clip=self.clip,
            active=self.active_set,
            lambda_terms=None if self.lambda_terms is None else within(trainer, pl_module, self.lambda_terms),
            max_skipped=self.max_skipped,
        )
        self.outer_optimizer = self._learner.outer_optimizer
        self.load_state_dict(state)
        if self.check_step:
            problem = BilevelProblem(
                model, trainer.optimizers[0], train_loss, val_loss, self.weights(), clipping=clipping(trainer)
            )
            self._check = StepCheck(problem, self.weights, pl_module, tolerance(trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock (a Trainer hook)."""
        self.learner.clock.start()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the last λ, and stops the clock (a Trainer hook)."""
        self.learner.follow(trainer.current_epoch, trainer.global_step)
        self.learner.clock.stop()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Takes an outer step if one is due (a Trainer hook)."""
        check_accumulation(trainer)
        learner, step = self.learner, trainer.global_step
        learner.follow(trainer.current_epoch, step)  # at every batch: a resumed epoch has no on_train_epoch_start
        if step == 0 and self.warm_up > 0:  # what cannot work fails before any training
            with RandomState():
                rehearsal = next(repeated(self.val_batches))[1]
            learner.hypergradient(batch, on_device(trainer, rehearsal))
            self._compare(batch)
        if step < self.warm_up or (step - self.warm_up) % self.outer_every:
            return
        taken = learner.outer_steps + learner.skipped
        if self._validation is None:
            self._validation = repeated(self.val_batches, start=taken)
        number, val_batch = next(self._validation)
        learner.place = f"epoch {learner.epoch + 1}, train batch {batch_idx + 1}, validation batch {number + 1}"
        learner.outer_step(batch, on_device(trainer, val_batch))
        if (taken + 1) & taken == 0:
            self._compare(batch)
        if len(learner.labels) <= LOGGED and not trainer.barebones:
            lambda_ = torch.cat([part.detach().reshape(-1) for part in Structure.parts(self.weights())])
            pl_module.log_dict({f"lambda/{n}": lambda_[i] for i, n in enumerate(learner.labels)}, on_step=True)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Checks that a due comparison was made (a Trainer hook)."""
        if self._check is not None:
            self._check.finish()

    def _compare(self, batch: Any) -> None:
        """Arranges to check in the next step that the Trainer's gradient is that of `train_loss`."""
        if self._check is not None:
            start = [part[0].reshape(-1) for part in Structure.parts(self.learner.trajectory)]
            self._check.arm(batch, torch.cat(start))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Releases the validation batches (a Trainer hook)."""
        self._validation, self._check, self._stage = None, None, "fit"

    def state_dict(self) -> dict[str, Any]:
        """Returns λ, the outer optimizer, and the counters and records of the learner."""
        if self._learner is None:
            return self._state
        return {
            "weights": self.weights.state_dict(),
            "outer_optimizer": self._learner.outer_optimizer.state_dict(),
            "progress": self._learner.progress(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from `state_dict`; the state of the learner waits until the learner exists.

        Outside of `Trainer.fit` it restores only λ, as the Trainer then restores only θ.
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
