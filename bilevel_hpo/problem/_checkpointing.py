"""Activation checkpointing (`torch.utils.checkpoint`) while the model's tensors are replaced."""

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn
from unittest import mock

from torch.utils import checkpoint

from bilevel_hpo.errors import UnsupportedError

__all__ = ["no_recomputation", "recomputation"]


@contextlib.contextmanager
def recomputation() -> Iterator[None]:
    """Lets checkpoints work as usual in a forward and backward pass inside; the reentrant kind is refused.

    The backward pass must be inside, too: its recomputation uses the tensors that the model then has.
    """
    with mock.patch.object(checkpoint, "CheckpointFunction", _Reentrant):
        yield


@contextlib.contextmanager
def no_recomputation() -> Iterator[None]:
    """For a forward pass inside, whose graph is used when the model has its own tensors again: nothing is computed a
    second time, and all activations are kept. Forward mode keeps none anyway."""
    with recomputation(), mock.patch.object(checkpoint, "_checkpoint_without_reentrant_generator", _keep):
        yield


def _keep(*_: Any, **__: Any) -> Iterator[None]:
    """Replaces torch's generator, which stops once before and once after the checkpointed function."""
    yield


class _Reentrant:
    @staticmethod
    def apply(*_: Any) -> NoReturn:
        raise UnsupportedError(
            "the loss calls torch.utils.checkpoint.checkpoint with use_reentrant=True, whose gradients can only be "
            "accumulated by backward(); pass use_reentrant=False, in transformers "
            "gradient_checkpointing_kwargs={'use_reentrant': False}"
        )
