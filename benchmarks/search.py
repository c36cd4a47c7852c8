"""What a search adds to its trainings, and what 27 of them find.

Overhead: 900 grid points whose objective takes no time, in memory, in a journal file and, with --storage, in a
database. Search: a bowl over three λ in [0, 1] with its bottom at a random place, 10 of them; the value above the
bottom after 27 trials.

python benchmarks/search.py [--storage URL] [--points 900]
"""

import argparse
import json
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import optuna

from bilevel_hpo import search

KINDS = ("grid", "random", "tpe", "gp")
optuna.logging.set_verbosity(optuna.logging.WARNING)


def seconds(storage: str | Path | None, points: int) -> dict[str, float]:
    """Wall and CPU seconds of a whole grid over three λ."""
    axis = [index / 10 for index in range(10)]
    space = {"a": axis, "b": axis, "c": [index / points for index in range(points // 100)]}
    wall, cpu = time.perf_counter(), time.process_time()
    study = search.grid(lambda point: point["a"], space, storage, name=f"benchmark-{uuid.uuid4().hex[:8]}")
    found = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    assert len(search.trials(study)) == points
    return found


def left(kind: str, seed: int, trials: int = 27) -> float:
    """How far above the bottom of a bowl a search ends."""
    bottom = np.random.default_rng(seed).uniform(size=3)

    def bowl(point: search.Point) -> float:
        return float(((np.array([point[name] for name in "abc"]) - bottom) ** 2).sum())

    if kind == "grid":
        study = search.grid(bowl, {name: [1 / 6, 1 / 2, 5 / 6] for name in "abc"})
    else:
        study = getattr(search, kind)(bowl, dict.fromkeys("abc", (0.0, 1.0)), trials=trials, seed=seed)
    return float(search.best(study).values[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--storage", help="URL of a database, measured as well")
    parser.add_argument("--points", type=int, default=900, help="a multiple of 100")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        storages = {"memory": None, "journal": Path(folder) / "journal"}
        storages |= {"database": arguments.storage} if arguments.storage else {}
        results = {name: seconds(storage, arguments.points) for name, storage in storages.items()}
    for name, found in results.items():
        print(f"{name}: {found['wall_s']:.2f} s ({found['cpu_s']:.2f} s of CPU) for {arguments.points} points")
    bowls = {kind: float(np.median([left(kind, seed) for seed in range(10)])) for kind in KINDS}
    for name, value in bowls.items():
        print(f"{name}: {value:.2g} above the bottom after 27 trials, median of 10 bowls")
    print(json.dumps({"points": arguments.points, "seconds": results, "above_the_bottom": bowls}))


if __name__ == "__main__":
    main()
