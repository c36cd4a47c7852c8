"""Detect gradients accumulated by hand, which the hypergradient of a single batch would miss."""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.batches import StepBatches, parts
from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.optimizers import StepCount, leaves_steps_out, step_count, unwrapped

__all__ = ["Accumulation"]

_ADVICE = (
    "Pass MicroBatches([...]) of all the batches of a step, or let fit(accumulate=...) take the steps; terms of one "
    "loss should be added up before one backward()"
)


class Accumulation:
    """Counts the backward passes of the caller per step of `optimizer`, and checks that its steps are taken.

    A hook on its first trainable parameter counts the passes, and a hook of the optimizer the steps.

    Args:
        optimizer: the inner optimizer, as the training loop holds it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._wrapped = unwrapped(optimizer) is not optimizer
        self._count: StepCount | None = step_count(unwrapped(optimizer))
        self._seen = self._taken()
        self._last = self._pending = 0
        self._ours = False
        self._grad: weakref.ref[Tensor] | None = None
        held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self._watched: Tensor | None = held[0] if held and self._count is not None else None
        if self._watched is not None:
            passed = weakref.WeakMethod(self._passed)  # the parameter outlives the learner
            self._watched.register_post_accumulate_grad_hook(lambda _: _called(passed))

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """Marks the backward passes inside as those of the learner, into zeroed gradients."""
        self._ours, self._pending = True, 0
        try:
            yield
        finally:
            self._ours = False

    @contextlib.contextmanager
    def one_step(self) -> Iterator[None]:
        """Lets the learner step with the optimizer inside; raises UnsupportedError if its wrapper takes no step."""
        count = step_count(unwrapped(self._optimizer)) if self._wrapped else None
        before = 0 if count is None else count.steps
        yield
        if count is not None and count.steps == before:
            raise UnsupportedError(f"{self._says()} took no step when its step() was called. {_ADVICE}")

    def check(self, batch: Any) -> None:
        """Checks, before a hypergradient, the step that the caller will take on `batch`.

        Raises:
            UnsupportedError: more backward passes make up a step than `batch` has parts, or the optimizer is told to
                take none.
        """
        self._refuse_no_step()
        known = max(len(parts(one)) for one in (batch if isinstance(batch, StepBatches) else (batch,)))
        n = self._waiting() or self._last
        if n > known:
            raise UnsupportedError(
                f"{n} backward passes were accumulated into one step of the inner optimizer, but this batch is for a "
                f"step with {known}, which is never taken. {_ADVICE}"
            )

    def check_own(self) -> None:
        """Checks, before a step of the learner, that no gradients of the caller are dropped.

        Raises:
            UnsupportedError: gradients of the caller wait for a step, or the optimizer is told to take none.
        """
        self._refuse_no_step()
        n = self._waiting()
        if n:
            raise UnsupportedError(
                "the parameters of the inner optimizer hold the gradients of "
                f"{n} backward {'pass' if n == 1 else 'passes'}; a step of the learner computes its own gradient and "
                f"would drop these. Call inner_optimizer.zero_grad() to drop them. {_ADVICE}"
            )

    def _refuse_no_step(self) -> None:
        if leaves_steps_out(self._optimizer):
            raise UnsupportedError(
                f"{self._says()} takes no step on this batch (accelerator.accumulate), so a hypergradient would be"
                f" that of a step that is never taken. {_ADVICE}"
            )

    def _says(self) -> str:
        return (
            f"the {type(self._optimizer).__name__} around inner optimizer {type(unwrapped(self._optimizer)).__name__}"
        )

    def _waiting(self) -> int:
        """Returns the number of backward passes of the caller whose gradients no step has used yet."""
        self._notice_step()
        grad = None if self._watched is None else self._watched.grad
        return self._pending if self._pending and grad is not None and bool(grad.any()) else 0

    def _passed(self) -> None:
        """Counts a backward pass that has reached the parameter."""
        assert self._watched is not None
        self._notice_step()
        if self._ours:
            return
        grad = self._watched.grad
        if self._grad is None or self._grad() is not grad:  # set to None since the last pass
            self._pending = 0
        self._grad = None if grad is None else weakref.ref(grad)
        self._pending += 1

    def _notice_step(self) -> None:
        taken = self._taken()
        if taken != self._seen:
            self._last, self._pending, self._seen = self._pending, 0, taken

    def _taken(self) -> int:
        return 0 if self._count is None else self._count.steps


def _called(method: "weakref.WeakMethod[Any]") -> None:
    bound = method()
    if bound is not None:
        bound()
