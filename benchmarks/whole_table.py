"""What does an epoch on the whole table cost, and what does learning λ add to it?

All tasks of the `chemicals` library with every label (derived ones too: the largest table there is), GATE on message
passing, λ learned on a budget, at the settings that `gate learn --embedding graph` starts from. Two processes train for
a few epochs each, one learns λ and one keeps it; they take turns, so that both see the same machine. Epoch times are
training alone; memory growth compares the last epoch with the second. The last line is JSON.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.prepared import prepare
from gate_model.training.methods import LEARNED, constant
from gate_model.training.progress import EpochReport
from gate_model.training.settings import settings_for
from gate_model.training.train import train


def resident_mb() -> float:
    """Now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def child(learned: bool, epochs: int, threads: int) -> None:
    """Prints a line per epoch, and waits for one on standard input before the next."""
    torch.set_num_threads(threads)
    data = prepare(load_chemicals(derived=True), seed=0, reads="graphs")
    facts = {
        "molecules": len(data.table.smiles),
        "train": len(data.split.train),
        "tasks": len(data.abbreviations),
        "labels": int(data.molecules.mask.sum()),
    }
    say(facts)
    before = 0.0

    def show(report: EpochReport) -> None:
        nonlocal before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        say({"seconds": report.seconds - before, "rss_mb": resident_mb(), "peak_mb": peak, "rmse": report.selection})
        before = report.seconds

    method = LEARNED["budget"] if learned else constant("constant_1", "constant", 1.0)
    train(data, method, replace(settings_for("graph"), epochs=epochs), seed=0, progress=show)


def say(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)
    sys.stdin.readline()


class Child:
    """A training in a process of its own that stops after every epoch until it is told to go on."""

    def __init__(self, args: argparse.Namespace, learned: bool) -> None:
        command = [sys.executable, __file__, "--child", "learned" if learned else "constant"]
        command += ["--epochs", str(args.epochs), "--threads", str(args.threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        facts: dict[str, Any] = json.loads(self._process.stdout.readline())
        return facts

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6, help="of each training (default 6)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    parser.add_argument("--child", choices=["learned", "constant"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child == "learned", args.epochs, args.threads)
        return
    children = {}
    for name, learned in (("constant", False), ("learned", True)):  # one after the other: both prepare the data
        children[name] = Child(args, learned)
        facts = children[name].read()
    print(
        f"{facts['molecules']} molecules ({facts['train']} to train), {facts['tasks']} tasks, {facts['labels']} labels"
    )
    epochs: dict[str, list[dict[str, Any]]] = {name: [] for name in children}
    for epoch in range(args.epochs):
        for name, process in children.items():
            process.go_on()
            row = process.read()
            epochs[name].append(row)
            print(f"epoch {epoch + 1}, λ {name}: {row['seconds']:.1f} s, {row['rss_mb']:.0f} MB", flush=True)
    for process in children.values():
        process.go_on()
    seconds = {name: statistics.median(row["seconds"] for row in rows[1:]) for name, rows in epochs.items()}
    last, second = epochs["learned"][-1], epochs["learned"][1]
    result = {
        "benchmark": "whole_table",
        **facts,
        "epoch_seconds": {name: round(value, 2) for name, value in seconds.items()},
        "molecules_per_second": round(facts["train"] / seconds["learned"]),
        "learning_lambda_on_top": round(
            statistics.median(
                a["seconds"] / b["seconds"] for a, b in zip(epochs["learned"], epochs["constant"], strict=True)
            )
            - 1,
            3,
        ),
        "peak_mb": round(last["peak_mb"]),
        "memory_growth_since_second_epoch": round(last["rss_mb"] / second["rss_mb"] - 1, 4),
        "peak_growth_since_second_epoch": round(last["peak_mb"] / second["peak_mb"] - 1, 4),
        "threads": args.threads,
        "torch": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
