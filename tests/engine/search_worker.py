"""The driver of a grid or a TPE search, to be killed; it meets the test at files in a folder.

python search_worker.py KIND STORAGE FOLDER ON [stops at its WAIT-th point until FOLDER/go is there]
"""

import logging
import sys
import time
from functools import partial
from pathlib import Path

import optuna

from bilevel_hpo import search

SPACE = {"a": [0.0, 0.25, 0.5, 0.75, 1.0, 2.0], "b": [-1.0, 0.0, 1.0, 3.0]}
BOUNDS = {"a": (0.0, 2.0), "b": (-1.0, 3.0)}
POINTS = 24


def value(point: dict[str, float]) -> float:
    return (point["a"] - 0.5) ** 2 + (point["b"] - 1.0) ** 2


def objective(folder: Path, wait: int, point: search.Point) -> float:
    """Leaves a file for each point that was begun."""
    point.report(1.0 + value(point), 1)
    begun = folder / f"{point['a']},{point['b']}.begun"
    begun.touch()
    if wait and len(list(folder.glob("*.begun"))) >= wait:
        (folder / f"{point['a']},{point['b']}.waits").touch()
        while not (folder / "go").exists():
            time.sleep(0.02)
    with begun.open("a") as file:
        file.write("evaluated\n")
    return value(point)


def run(kind: str, storage: str, folder: Path, on: int, wait: int = 0) -> optuna.Study:
    evaluate = partial(objective, folder, wait)
    if kind == "grid":
        return search.grid(evaluate, SPACE, storage, name="killed", on=on)
    return search.tpe(evaluate, BOUNDS, storage, name="killed", trials=POINTS, parallel=3, seed=7, on=on)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    run(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
