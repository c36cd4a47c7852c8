"""How far is each estimator's hypergradient in float32 from the one in float64, from the same state of a training?

Thirteen networks, twelve optimizers with their learning rates, λ as loss weights, as a decay and as example weights; in
each of these trainings the states before the first steps and up to the 1,000th. The judge is `Unrolled(1)`, reverse
mode through the optimizer's step, on a copy of model, optimizer state, λ and batches in float64, with the same dropout
masks and perturbations; it shares no code with the estimators but the optimizer's update rule. The error is
‖g − g64‖/‖g64‖.

`default` is what a learner without `hypergradient=` uses, asked by `learner.hypergradient`; the row `default, in
learner.step` is what `learner.step` and `fit` use. The implicit estimators are not in the table: they estimate
another thing, the hypergradient at the optimum of the inner problem.

`--readme` trains the README's example with a BatchNorm1d instead, and shows λ of "signal". A run that was stopped goes
on where it was, with the same `--out`. The last line is JSON.
"""

import argparse
import json
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from accuracy.measure import ESTIMATORS, STEP, measure
from accuracy.readme import readme
from accuracy.table import flat, summary, text
from accuracy.zoo import STATES, Setting, settings

QUICK = (0, 2, 20)
QUICK_OPTIMIZERS = ("SGD .05", "AdamW 1e-3")


def measured(wanted: list[Setting], states: tuple[int, ...], processes: int) -> Iterator[dict[str, Any]]:
    """The trainings as they finish."""
    started = time.perf_counter()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(measure, setting, states) for setting in wanted]
        for number, future in enumerate(as_completed(futures), 1):
            result = future.result()
            minutes = (time.perf_counter() - started) / 60
            print(f"{minutes:5.1f} min  {number} of {len(wanted)}: {result['training']}", file=sys.stderr, flush=True)
            yield result


def report(trainings: list[dict[str, Any]]) -> dict[str, Any]:
    """Prints the tables; what the JSON holds of them."""
    states = flat(trainings)
    estimators = [STEP, *ESTIMATORS]
    states["optimizer"] = states["optimizer"].str.split().str[0]  # learning rates together
    total = {name: summary(states[states["estimator"] == name]) for name in estimators}
    rows = {}
    for name in estimators:
        of = states[states["estimator"] == name]
        rows[name] = {
            **{role: summary(part) for role, part in of.groupby("role", sort=False)},
            **{" / ".join(key): summary(part) for key, part in of.groupby(["network", "optimizer"], sort=False)},
        }
        print(f"{name}\n{text(rows[name])}\n")
    print(text(total))
    exactly_zero = int((states[states["estimator"] == STEP]["norm"] == 0).sum())
    print(f"states where the exact hypergradient is 0, left out: {exactly_zero}")
    return {"total": total, "rows": rows, "trainings": len(trainings), "exactly_zero": exactly_zero}


def rounded(value: Any) -> Any:
    """Numbers to three digits, for JSON."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return float(f"{value:.3g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="trainings whose name matches; a name is 'network / optimizer / λ'")
    parser.add_argument("--quick", action="store_true", help="few states of few trainings: a minute")
    parser.add_argument("--readme", action="store_true", help="the README's example with a BatchNorm1d")
    parser.add_argument(
        "--out", type=Path, help="a JSON line per training is added as it finishes; those in it are kept"
    )
    parser.add_argument("--processes", type=int, default=2, help="of one thread each (default 2)")
    args = parser.parse_args()
    if args.readme:
        found = readme()
        for name, signal in found.items():
            print(f"{name:20}" + "".join(f"{value:8.3f}" for value in signal))
        print(json.dumps({"benchmark": "estimator_accuracy, README", "signal": found, "torch": torch.__version__}))
        return

    wanted = [setting for setting in settings() if re.search(args.only, str(setting))]
    if args.quick:
        wanted = [s for s in wanted if s.optimizer in QUICK_OPTIMIZERS and s.role == "loss weights"]
    lines = args.out.read_text().splitlines() if args.out and args.out.exists() else []
    done = {training["training"]: training for training in map(json.loads, lines)}
    trainings = [done[str(setting)] for setting in wanted if str(setting) in done]
    missing = [setting for setting in wanted if str(setting) not in done]
    for training in measured(missing, QUICK if args.quick else STATES, args.processes):
        trainings.append(training)
        if args.out:
            with args.out.open("a") as file:
                file.write(json.dumps(training) + "\n")
    order = {str(setting): i for i, setting in enumerate(wanted)}
    trainings.sort(key=lambda training: order[training["training"]])
    result = {"benchmark": "estimator_accuracy", **rounded(report(trainings)), "torch": torch.__version__}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
