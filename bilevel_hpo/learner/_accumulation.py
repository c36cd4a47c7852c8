"""Gradients that somebody accumulates by hand, which no hypergradient of a single batch knows of."""

import contextlib
from collections.abc import Iterator
from typing import Any
from weakref import WeakMethod

import torch
from torch import Tensor

from bilevel_hpo.batches import StepBatches, parts
from bilevel_hpo.errors import UnsupportedError

__all__ = ["Accumulation"]


class Accumulation:
    """Counts the backward passes that others put into one step of `optimizer`.

    A hook on its first trainable parameter counts the passes; a step shows in that parameter's version.

    Args:
        optimizer: the inner optimizer.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._last = self._pending = 0
        self._ours = False
        held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self._watched: Tensor | None = held[0] if held else None
        self._version = 0
        if self._watched is not None:
            self._version = self._watched._version
            count = WeakMethod(self._count)  # the parameter outlives the learner
            self._watched.register_post_accumulate_grad_hook(lambda _: _called(count))

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """The backward passes inside are the learner's own."""
        self._ours = True
        try:
            yield
        finally:
            self._ours = False

    def check(self, batch: Any) -> None:
        """UnsupportedError if more backward passes make up a step than `batch` has parts."""
        p = self._watched
        if p is None:
            return
        self._notice_step(p)
        known = max(len(parts(one)) for one in (batch if isinstance(batch, StepBatches) else (batch,)))
        waiting = self._pending if self._pending and p.grad is not None and bool(p.grad.any()) else 0
        n = waiting or self._last
        if n > known:
            raise UnsupportedError(
                f"{n} backward passes were accumulated into one step of the inner optimizer, but this batch is for a "
                f"step with {known}, which is never taken. Pass MicroBatches([...]) of all the batches of "
                "a step, or let fit(accumulate=...) take the steps; terms of one loss should be added up before one "
                "backward()"
            )

    def _count(self) -> None:
        if self._watched is not None:
            self._notice_step(self._watched)
        if not self._ours:
            self._pending += 1

    def _notice_step(self, p: Tensor) -> None:
        if p._version != self._version:
            self._last, self._pending, self._version = self._pending, 0, p._version


def _called(method: "WeakMethod[Any]") -> None:
    bound = method()
    if bound is not None:
        bound()
