"""Batches in the order in which `fit` wants them."""

from collections import deque
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

from bilevel_hpo.batches import MicroBatches

__all__ = ["Grouped", "length", "lookahead", "repeated"]


def length(batches: object) -> int | None:
    """How many batches there are; None where they do not say."""
    try:
        return len(batches) if isinstance(batches, Sized) else None
    except TypeError:  # a DataLoader has __len__, which fails where its dataset is an iterable
        return None


class Grouped:
    """Every n batches as one, `MicroBatches`; fewer in the last. The batches themselves for n = 1.

    Args:
        batches: can be iterated again and again.
        n: batches of one inner step.
    """

    def __init__(self, batches: Iterable[Any], n: int) -> None:
        self._batches, self._n = batches, n

    @property
    def steps(self) -> int | None:
        """Inner steps of one pass; None where the batches do not say how many they are."""
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
    """Every batch with the n−1 that follow it; fewer at the end."""
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
    """Numbered batches, pass after pass without end, from number `start` on where the number of batches is known.

    `name` is what the error for empty batches calls them.
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
