"""Work on many molecules, a chunk at a time, on all cores."""

import os
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from bilevel_hpo.jobs import drive, workers

__all__ = ["in_chunks"]

Item = TypeVar("Item")
Part = TypeVar("Part")
_CHUNK = 200


def in_chunks(
    work: Callable[[list[Item]], Part],
    items: Sequence[Item],
    *,
    serial_below: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Part]:
    """`work` of every 200 items, in their order.

    The calling script needs no `__main__` guard, and a notebook may call this too.

    Args:
        work: its results must not depend on the process it runs in.
        items: N items; fewer than `serial_below` are not worth the start of other processes.
        progress: called with (items done, N).
    """
    chunks = [list(items[start : start + _CHUNK]) for start in range(0, len(items), _CHUNK)]
    processes = 1 if len(items) < serial_below else min(os.cpu_count() or 1, len(chunks))

    def show(done: int) -> None:
        if progress:
            progress(min(done * _CHUNK, len(items)), len(items))

    def part(number: int) -> Part:
        return work(chunks[number])

    plan = _Numbered[Part](len(chunks), show)
    with workers(part, processes) as pool:
        drive([plan], pool)
    return [plan.parts[number] for number in range(len(chunks))]


class _Numbered(Generic[Part]):
    """A plan whose jobs are the numbers of the chunks."""

    def __init__(self, chunks: int, show: Callable[[int], None]) -> None:
        self.parts: dict[int, Part] = {}
        self._left, self._show = range(chunks), show

    def start(self) -> Sequence[int]:
        """All, the first time."""
        left, self._left = self._left, range(0)
        return left

    def finish(self, number: int, part: Part) -> None:
        """Keep a part."""
        self.parts[number] = part
        self._show(len(self.parts))
