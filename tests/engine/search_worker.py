"""One of several processes that share a grid; it meets the test at files in a folder.

python search_worker.py STORAGE FOLDER NAME [waits at its WAIT-th point]
"""

import logging
import sys
import time
from pathlib import Path

from bilevel_hpo import search

SPACE = {"a": [0.0, 0.25, 0.5, 0.75, 1.0, 2.0], "b": [-1.0, 0.0, 1.0, 3.0]}


def value(point: dict[str, float]) -> float:
    return (point["a"] - 0.5) ** 2 + (point["b"] - 1.0) ** 2


def main(storage: str, folder: Path, name: str, wait: int) -> None:
    count = 0

    def objective(point: search.Point) -> float:
        nonlocal count
        count += 1
        point.report(1.0 + value(point), 1)
        if count == wait:
            (folder / f"{name}.waits").touch()
            while not (folder / f"{name}.go").exists():
                time.sleep(0.02)
        with (folder / f"{name}.evaluated").open("a") as file:
            file.write(f"{point['a']},{point['b']}\n")
        return value(point)

    search.grid(objective, SPACE, storage, name="shared")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
