"""Refuse features of a Trainer that no estimator supports."""

from typing import cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.learner import Weights

__all__ = ["check", "check_accumulation"]


def check(trainer: Trainer, pl_module: LightningModule, weights: Weights) -> None:
    """Raises UnsupportedError for features of the Trainer that no estimator supports."""
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
    check_accumulation(trainer)
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        raise UnsupportedError(
            f"precision={trainer.precision!r} scales the loss, and its scaler leaves out steps whose gradient "
            "overflows: the hypergradient could be that of a step that is never taken; use precision='bf16-mixed' or "
            "'32-true'"
        )
    if trainer.world_size > 1 and not isinstance(trainer.model, DistributedDataParallel):
        raise UnsupportedError(
            f"strategy {type(trainer.strategy).__name__} has {trainer.world_size} processes without "
            "DistributedDataParallel; use strategy='ddp'"
        )
    if is_overridden("configure_gradient_clipping", pl_module):
        raise UnsupportedError(
            "the LightningModule overrides configure_gradient_clipping, and the callback cannot know how it clips; "
            "leave it out and use Trainer(gradient_clip_val=..., gradient_clip_algorithm=...), which is part of the "
            "differentiated step"
        )
    raw = {id(p) for p in cast(nn.Module, weights).parameters()}
    if any(id(p) in raw for group in trainer.optimizers[0].param_groups for p in group["params"]):
        raise UnsupportedError(
            "the optimizer of the LightningModule steps on the parameters of `weights`, too; leave them out in "
            "configure_optimizers, for instance Adam(self.net.parameters())"
        )


def check_accumulation(trainer: Trainer) -> None:
    """Refuses gradient accumulation, which a scheduler of the Trainer may change between epochs."""
    if trainer.accumulate_grad_batches != 1:
        raise UnsupportedError(
            f"accumulate_grad_batches={trainer.accumulate_grad_batches}: the callback sees one batch at a time and "
            "would differentiate a step that is never taken; use larger batches, or BilevelLearner.fit(accumulate=...)"
        )
