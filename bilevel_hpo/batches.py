"""Groups of batches that are passed in place of a single batch."""

from typing import Any

__all__ = ["MicroBatches", "StepBatches"]


class StepBatches(tuple[Any, ...]):
    """One train batch for each inner step of an estimator that differentiates several steps.

    `learner.hypergradient(StepBatches([b1, b2, b3]), val_batch)` with `Unrolled(steps=3)`; an ordinary batch in
    its place is used for every step.
    """

    __slots__ = ()


class MicroBatches(tuple[Any, ...]):
    """Several batches for ONE inner step (gradient accumulation); the loss is the mean of their losses.

    Each batch passes through the model separately, so memory is that of one batch. `fit(accumulate=n)` makes them.
    """

    __slots__ = ()


def parts(batch: Any) -> tuple[Any, ...]:
    """Returns the batches to average the loss over: those of a `MicroBatches`, or `[batch]` for an ordinary batch."""
    return tuple(batch) if isinstance(batch, MicroBatches) else (batch,)
