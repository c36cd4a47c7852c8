"""Work on many molecules, a chunk at a time, on all cores."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

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

    Args:
        work: a function of a module, for the other processes to import.
        items: N items; fewer than `serial_below` are not worth the start of other processes.
        progress: called with (items done, N).
    """
    chunks = [list(items[start : start + _CHUNK]) for start in range(0, len(items), _CHUNK)]
    parts: list[Part] = []

    def add(part: Part) -> None:
        parts.append(part)
        if progress:
            progress(min(len(parts) * _CHUNK, len(items)), len(items))

    if len(items) < serial_below or os.cpu_count() == 1:
        for chunk in chunks:
            add(work(chunk))
    else:
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            for part in pool.map(work, chunks):
                add(part)
    return parts
