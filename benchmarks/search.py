"""What a search adds to its trainings, and what 27 of them find.

Overhead: 10,000 points whose objective takes no time, of a grid and at random, in memory, in a journal file and, fewer
of them, in a database with --storage. Search: a bowl over three λ in [0, 1] with its bottom at a random place, 10 of
them; the value above the bottom after 27 trials.

python benchmarks/search.py [--points 10000] [--storage URL --database-points 900]
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


def value(point: search.Point) -> float:
    return point["a"]


def milliseconds(kind: str, storage: str | Path | None, points: int) -> dict[str, float]:
    """Wall and CPU milliseconds a trial, and those of opening the finished search again, over three λ."""
    name = f"benchmark-{uuid.uuid4().hex[:8]}"

    def run() -> optuna.Study:
        if kind == "grid":
            axis = [index / 10 for index in range(10)]
            space = {"a": axis, "b": axis, "c": [index / points for index in range(points // 100)]}
            return search.grid(value, space, storage, name=name)
        return search.random(value, dict.fromkeys("abc", (0.0, 1.0)), storage, name=name, trials=points)

    wall, cpu = time.perf_counter(), time.process_time()
    study = run()
    found = {"wall_ms": time.perf_counter() - wall, "cpu_ms": time.process_time() - cpu}
    assert len(search.trials(study)) == points
    if storage is not None:
        again = time.perf_counter()
        assert len(run().trials) == points
        found["opened_again_ms"] = time.perf_counter() - again
    return {key: 1e3 * seconds / points for key, seconds in found.items()}


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
    parser.add_argument("--points", type=int, default=10_000, help="a multiple of 100")
    parser.add_argument("--storage", help="URL of a database, measured as well")
    parser.add_argument("--database-points", type=int, default=900, help="a multiple of 100")
    arguments = parser.parse_args()
    overhead: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        storages: dict[str, tuple[str | Path | None, int]] = {
            "memory": (None, arguments.points),
            "journal": (Path(folder) / "journal", arguments.points),
        }
        if arguments.storage:
            storages["database"] = arguments.storage, arguments.database_points
        for where, (storage, points) in storages.items():
            overhead[where] = {kind: milliseconds(kind, storage, points) for kind in ("grid", "random")}
            for kind, found in overhead[where].items():
                print(f"{where}: {found['wall_ms']:.2f} ms a trial ({found['cpu_ms']:.2f} of CPU), {points} of {kind}")
    bowls = {kind: float(np.median([left(kind, seed) for seed in range(10)])) for kind in KINDS}
    for name, above in bowls.items():
        print(f"{name}: {above:.2g} above the bottom after 27 trials, median of 10 bowls")
    print(json.dumps({"points": arguments.points, "overhead": overhead, "above_the_bottom": bowls}))


if __name__ == "__main__":
    main()
