"""Iterate over batches in the order that `fit` needs."""

from collections import deque
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

from bilevel_hpo.batches import MicroBatches

__all__ = ["Grouped", "length", "lookahead", "repeated"]


def length(batches: object) -> int | None:
    """Returns the number of batches; None if they have no length."""
    try:
        return len(batches) if isinstance(batches, Sized) else None
    except TypeError:  # a DataLoader has __len__, which fails where its dataset is an iterable
        return None


class Grouped:
    """Groups every n batches into one `MicroBatches`, with fewer in the last; for n = 1 the batches themselves.

    Args:
        batches: an iterable that can be iterated repeatedly.
        n: the number of batches per inner step.
    """

    def __init__(self, batches: Iterable[Any], n: int) -> None:
        self._batches, self._n = batches, n

    @property
    def steps(self) -> int | None:
        """The number of inner steps of one pass; None if the batches have no length."""
        known = length(self._batches)
        return None if known is None else -(-known // self._n)

    def __iter__(self) -> Iterator[Any]:
        iterator = iter(self._batches)
        if self._n == 1:
            yield from iterator
        else:
            while group := MicroBatches(islice(iterator, self._n)):
                yield group


def lookahead(batches: Iterable[Any], n: int) -> Iterator[list[Any]]:
    """Yields every batch with the n−1 that follow it; fewer at the end."""
    window: deque[Any] = deque()
    for batch in batches:
        window.append(batch)
        if len(window) == n:
            yield list(window)
            window.popleft()
    while window:
        yield list(window)
        window.popleft()


def repeated(batches: Iterable[Any], start: int = 0, *, name: str = "val_batches") -> Iterator[tuple[int, Any]]:
    """Yields numbered batches in endless passes, starting at number `start` if the number of batches is known.

    `name` stands for the batches in the error message if they are empty.
    """
    known = length(batches)
    skip = start % known if known else 0
    while True:
        empty = True
        for number, batch in enumerate(islice(batches, skip, None), skip):
            empty = False
            yield number, batch
        if empty and not skip:
            raise ValueError(f"{name} must give at least one batch; it gave none")
        skip = 0
