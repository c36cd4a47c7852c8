"""Several batches that stand where one is expected."""

from typing import Any

__all__ = ["MicroBatches", "StepBatches"]


class StepBatches(tuple[Any, ...]):
    """One train batch for each inner step of an estimator that looks further than one step ahead.

    `learner.hypergradient(StepBatches([b1, b2, b3]), val_batch)` with `Unrolled(steps=3)`; an ordinary batch in
    its place is used for every step.
    """

    __slots__ = ()


class MicroBatches(tuple[Any, ...]):
    """Several batches for ONE inner step (gradient accumulation): the loss is the mean of their losses.

    Each is passed through the model by itself, so that the memory is that of one. `fit(accumulate=n)` makes them.
    """

    __slots__ = ()


def parts(batch: Any) -> tuple[Any, ...]:
    """The batches whose mean loss is meant: those of `MicroBatches`, or the one that came."""
    return tuple(batch) if isinstance(batch, MicroBatches) else (batch,)
