"""Treat the losses and batches of the callback as the Trainer treats its own."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor

from bilevel_hpo.problem import ClipNorm, Clipping, ClipValue, Loss

__all__ = ["clipping", "on_device", "within"]


def clipping(trainer: Trainer) -> Clipping | None:
    """Returns the clipping of `gradient_clip_val` and `gradient_clip_algorithm`; None without clipping."""
    value = trainer.gradient_clip_val
    if value is None or value <= 0:
        return None
    return ClipValue(value) if trainer.gradient_clip_algorithm == GradClipAlgorithmType.VALUE else ClipNorm(value)


def within(trainer: Trainer, module: LightningModule, loss: Loss) -> Loss:
    """Returns `loss`, evaluated in the Trainer's precision context like `training_step`; its gradients are not.

    Logging in `loss` is ignored: `training_step` logs it. A LightningModule compiled by `torch.compile` gets
    its original methods back.
    """
    context: Callable[[], AbstractContextManager[None]] = trainer.precision_plugin.forward_context

    def in_context(model: Any, lambda_: Any, batch: Any) -> Tensor:
        with context(), _set_apart(module):
            return loss(model, lambda_, batch)

    return in_context


@contextlib.contextmanager
def _set_apart(module: LightningModule) -> Iterator[None]:
    """Inside, the module logs nothing, and methods that were compiled are as written (a compiled one can be
    differentiated only once; Lightning keeps the originals beside them)."""
    kept = getattr(module, "_compiler_ctx", None) or {}
    ours = {key.removeprefix("original_"): kept[key] for key in kept if key.startswith("original_")}
    ours |= {"log": _nothing, "log_dict": _nothing}
    theirs = {name: module.__dict__[name] for name in ours if name in module.__dict__}
    module.__dict__.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del module.__dict__[name]
        module.__dict__.update(theirs)


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Replaces `log` and `log_dict`."""


def on_device(trainer: Trainer, batch: Any) -> Any:
    """Returns `batch` in the precision and on the device of the train batches."""
    return trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
