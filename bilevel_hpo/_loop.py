"""Batches in the order in which `fit` wants them."""

from collections import deque
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

from bilevel_hpo.batches import MicroBatches

__all__ = ["grouped", "lookahead", "repeated"]


def grouped(batches: Iterable[Any], n: int) -> Iterator[Any]:
    """Every n batches as one, `MicroBatches`; fewer in the last. The batches themselves for n = 1."""
    iterator = iter(batches)
    if n == 1:
        yield from iterator
    else:
        while group := MicroBatches(islice(iterator, n)):
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


def repeated(batches: Iterable[Any], start: int = 0) -> Iterator[tuple[int, Any]]:
    """Numbered batches, pass after pass without end, from number `start` on where the number of batches is known."""
    skip = start % len(batches) if isinstance(batches, Sized) and len(batches) else 0
    while True:
        empty = True
        for number, batch in enumerate(islice(batches, skip, None), skip):
            empty = False
            yield number, batch
        if empty and not skip:
            raise ValueError("the batches to repeat are empty")
        skip = 0
