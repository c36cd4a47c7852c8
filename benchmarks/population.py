"""How much faster are N trainings with different constant λ in one (`train_population`) than as N trainings?

DS, HV and BP at the settings of `gate grid`, on the molecules with all three labels (the demo) and on all that have
any. The rivals train the same N members one after the other with `train`: in one process with one thread or two, and
in two processes of one thread each with half of the members. So does the population: one process with one thread or
two, or two processes with half of it each. Times are taken in processes that have prepared the data and trained for an
epoch, in turns, so that all see the same machine; the least of the repetitions counts.

Wall-clock time means something only if nothing else runs. CPU time (of all threads and processes together) also
does on a busy machine: "ratio_cpu" is the CPU time of the separate trainings over that of the population, both in one
thread, hence how much more a machine trains that is kept busy. "ratio_one_process" is wall-clock time of one process,
each side with the better number of threads; "ratio_wall" the same where each side may also be two processes.
"difference" is the largest between a member and its separate training. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import torch

from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.prepared import PreparedData, prepare
from gate_model.model.evaluation import predict, rmse
from gate_model.training.methods import Method, constant
from gate_model.training.settings import Settings
from gate_model.training.train import train, train_population

TASKS = ["DS", "HV", "BP"]
WAYS = {"1 thread": (1, 1), "2 threads": (1, 2), "2 processes": (2, 1)}
"""Processes, and threads of each."""


def methods(n: int) -> list[Method]:
    """n uniform λ from 0 to 3."""
    return [constant(f"{i}", "", 3 * i / max(n - 1, 1)) for i in range(n)]


def child(at_least: int) -> None:
    """Answers requests on standard input, JSON a line, with the seconds they took."""
    data = prepare(load_chemicals(TASKS).with_at_least(at_least), seed=0)
    facts = {"molecules": len(data.table.smiles), "train": len(data.split.train)}
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        torch.set_num_threads(asked["threads"])
        settings = Settings(epochs=asked["epochs"])
        chosen = methods(asked["n"])[asked["first"] :: asked["step"]]
        started, cpu = time.perf_counter(), time.process_time()
        if asked["together"]:
            train_population(data, chosen, settings, seed=0)
        else:
            for method in chosen:
                train(data, method, settings, seed=0)
        print(json.dumps([time.perf_counter() - started, time.process_time() - cpu]), flush=True)


class Child:
    """A process that trains what it is asked to."""

    def __init__(self, at_least: int) -> None:
        command = [sys.executable, __file__, "--child", str(at_least)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **asked: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def seconds(children: list[Child], way: str, n: int, epochs: int, *, together: bool) -> tuple[float, float]:
    """Wall-clock until the last of the processes has its share of the n members trained, and CPU of all of them."""
    processes, threads = WAYS[way]
    for i, process in enumerate(children[:processes]):
        process.ask(n=n, first=i, step=processes, threads=threads, epochs=epochs, together=together)
    answers = [process.answer() for process in children[:processes]]
    return max(wall for wall, _ in answers), sum(cpu for _, cpu in answers)


def differences(data: PreparedData, n: int, settings: Settings) -> dict[str, float]:
    """Largest absolute differences between the members of a population and separate trainings."""
    found: dict[str, float] = {"weights": 0.0, "validation_curve": 0.0, "test_rmse": 0.0}
    x, labels = data.some(data.split.test)
    for method, member in zip(methods(n), train_population(data, methods(n), settings, seed=0), strict=True):
        alone = train(data, method, settings, seed=0)
        states = zip(alone.model.state_dict().values(), member.model.state_dict().values(), strict=True)
        curves = zip(alone.history, member.history, strict=True)
        both = [rmse(predict(each.model, x), labels) for each in (alone, member)]
        new = {
            "weights": max(float((a - b).abs().max()) for a, b in states),
            "validation_curve": max(abs(a["selection"] - b["selection"]) for a, b in curves),
            "test_rmse": float(abs(both[0] - both[1]).max()),
        }
        found = {key: max(value, new[key]) for key, value in found.items()}
    return found


def best_single(wall: dict[tuple[str, bool], float], together: bool) -> float:
    """Wall-clock seconds of one process with the better number of threads."""
    return min(wall[way, together] for way, (processes, _) in WAYS.items() if processes == 1)


def measured(at_least: int, sizes: list[int], epochs: int, repetitions: int) -> dict[str, Any]:
    """One data set."""
    children = []
    for _ in range(2):  # one after the other: both prepare the data
        children.append(Child(at_least))
        facts = children[-1].answer()
    for way in WAYS:
        for together in (False, True):
            seconds(children, way, 2, 1, together=together)
    print(f"{facts['molecules']} molecules, {epochs} epochs")
    rows = []
    for n in sizes:
        times: dict[tuple[str, bool], list[tuple[float, float]]] = {}
        for _ in range(repetitions):
            for way in WAYS:
                for together in (False, True):
                    found = seconds(children, way, n, epochs, together=together)
                    times.setdefault((way, together), []).append(found)
        wall = {key: min(wall for wall, _ in found) for key, found in times.items()}
        cpu = {key: min(cpu for _, cpu in found) for key, found in times.items()}
        row: dict[str, Any] = {
            "n": n,
            "ratio_cpu": round(cpu["1 thread", False] / cpu["1 thread", True], 2),
            "ratio_one_process": round(best_single(wall, False) / best_single(wall, True), 2),
            "ratio_wall": round(min(wall[way, False] for way in WAYS) / min(wall[way, True] for way in WAYS), 2),
        }
        for name, values in (("wall_s", wall), ("cpu_s", cpu)):
            row[f"separate_{name}"] = {way: round(values[way, False], 2) for way in WAYS}
            row[f"population_{name}"] = {way: round(values[way, True], 2) for way in WAYS}
        rows.append(row)
        print(row, flush=True)
    for process in children:
        process.end()
    return {"at_least": at_least, **facts, "epochs": epochs, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="5,9,27", help="N, comma-separated (default 5,9,27)")
    parser.add_argument("--epochs", type=int, default=6, help="of each timed training of the demo (default 6)")
    parser.add_argument("--repetitions", type=int, default=3, help="of each timing (default 3)")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        child(args.child)
        return
    sizes = [int(part) for part in args.sizes.split(",")]
    # A training on all molecules has ten times the steps: an epoch is as long as the demo's six.
    cases = [measured(at_least, sizes, epochs, args.repetitions) for at_least, epochs in ((3, args.epochs), (1, 1))]
    torch.set_num_threads(1)
    data = prepare(load_chemicals(TASKS).with_at_least(3), seed=0)
    result = {
        "benchmark": "population",
        "cases": cases,
        "difference_float32": differences(data, 5, Settings()),
        "torch": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
