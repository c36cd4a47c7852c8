"""What learning λ costs: time and memory of a training step with a hypergradient, against the plain training step.

GATE-shaped network, AdamW, T tasks and T² weights λ under a budget. Every variant runs in a process of its own, so that
its peak memory is its own; there it takes some steps (peak memory is read), then timed steps in turn with plain ones of
the same model. Ratios are medians over all rounds of all processes:

- `on top`: (inner step with hypergradient) / (plain inner step) − 1, in plain steps;
- `memory`: peak of the process / peak of a process that takes plain steps only − 1.

`fit` compares whole trainings with and without λ-learning, both by `fit`, at its default schedule. `many λ` is another
network, an MLP with a weight per training example, at two numbers of examples: neither time nor memory of a step should
grow with them. The last line is JSON.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from torch import nn

from bilevel_hpo import (
    BilevelLearner,
    Box,
    Budget,
    FiniteDifference,
    Hypergradient,
    LossWeights,
    OneStep,
    TransferRatios,
    Unrolled,
)
from gate_model.data.batches import Batch
from gate_model.model.feature_mlp import FeatureMLP
from gate_model.model.gate import GATE
from gate_model.model.losses import DirectPathLoss, TrainLoss

FEATURES, D, K, HIDDEN = 512, 128, 64, 64
VARIANTS: dict[str, Hypergradient | None] = {
    "plain": None,
    "OneStep": OneStep(),
    "OneStep, unchecked": OneStep(tolerance=None),
    "FiniteDifference, unchecked": FiniteDifference(tolerance=None),
    "FiniteDifference, central, unchecked": FiniteDifference(central=True, tolerance=None),
    "Unrolled(1) by higher": Unrolled(1),
}
MANY = (1_560, 100_000)


def batch(args: argparse.Namespace) -> Batch:
    mask = torch.rand(args.batch, args.tasks) < args.density
    y = torch.where(mask, torch.randn(args.batch, args.tasks), 0)
    return Batch(torch.randn(args.batch, FEATURES), y, mask)


def learner(args: argparse.Namespace, estimator: Hypergradient | None) -> BilevelLearner:
    model = GATE(FeatureMLP(FEATURES, d=D, dropout=0.0), args.tasks, d=D, k=K, hidden=HIDDEN)
    loss = TrainLoss(mapping="sum", geometry="mean")
    return BilevelLearner(
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-3),
        TransferRatios([f"t{i}" for i in range(args.tasks)], constraint=Budget()),
        train_loss=loss,
        lambda_terms=loss.lambda_terms,
        val_loss=DirectPathLoss(),
        hypergradient=estimator,
    )


def many_lambda(n: int) -> tuple[BilevelLearner, Any, Any]:
    """A weight for each of n examples, of which a batch holds 512."""
    model = nn.Sequential(nn.Linear(256, 1024), nn.SiLU(), nn.Linear(1024, 1024), nn.SiLU(), nn.Linear(1024, 1))

    def errors(model: nn.Module, batch: Any) -> torch.Tensor:
        return (model(batch[1])[:, 0] - batch[2]).square()

    subject = BilevelLearner(
        model,
        torch.optim.AdamW(model.parameters(), lr=1e-3),
        LossWeights([str(i) for i in range(n)], init=0.5, constraint=Box(0, 1)),
        train_loss=lambda model, weights, batch: (weights[batch[0]] * errors(model, batch)).mean(),
        val_loss=lambda model, _, batch: errors(model, batch).mean(),
    )
    train, val = ((torch.randint(n, (512,)), torch.randn(512, 256), torch.randn(512)) for _ in range(2))
    return subject, train, val


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """In the process of one variant."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.variant == "fit":
        train, val = [batch(args) for _ in range(10)], [batch(args)]
        with_lambda, without = (
            learner(args, None).fit(train[:1], val, epochs=1, outer_every=every) for every in (1, None)
        )
        seconds: dict[str, list[float]] = {"plain": [], "variant": []}
        for round_ in range(2, args.repeats + 2):  # each takes up where it stood
            seconds["plain"].append(timed(lambda r=round_: without.fit(train, val, epochs=r, outer_every=None)))
            seconds["variant"].append(timed(lambda r=round_: with_lambda.fit(train, val, epochs=r)))
        return {"seconds": seconds, "outer_steps": with_lambda.outer_steps, "inner_steps": with_lambda.inner_steps}
    estimator = VARIANTS.get(args.variant, OneStep())
    if args.variant in VARIANTS:
        subject, train_batch, val_batch = learner(args, estimator), batch(args), batch(args)
    else:
        subject, train_batch, val_batch = many_lambda(int(args.variant))

    def plain() -> None:
        subject.inner_step(train_batch)

    def variant() -> None:
        subject.step(train_batch, val_batch)

    work = plain if estimator is None else variant
    work()
    before = peak_mb()
    for _ in range(3):
        work()
    peak = peak_mb()
    seconds = {"plain": [], "variant": []}
    for _ in range(args.repeats):
        for name, step in (("plain", plain), ("variant", work)):
            seconds[name].append(timed(step))
    return {"seconds": seconds, "peak_mb": max(peak, before)}


def accuracy(args: argparse.Namespace) -> dict[str, float]:
    """Relative error of each estimate in float32, against `OneStep` in float64, after a few steps of training."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    subject, train_batch, val_batch = learner(args, None), batch(args), batch(args)
    for _ in range(20):
        subject.inner_step(train_batch)
    estimates = {}
    for name, estimator in VARIANTS.items():
        if estimator is not None:
            subject.estimator = estimator
            torch.manual_seed(1)
            estimates[name] = subject.hypergradient(train_batch, val_batch).double()
    reference = OneStep()
    torch.manual_seed(1)
    perturbation = torch.randn  # the same draw in both precisions
    torch.randn = lambda *a, dtype=None, **k: perturbation(*a, **k).to(dtype)
    try:
        exact = BilevelLearner(
            subject.model.double(),
            subject.inner_optimizer,
            subject.weights.double(),  # type: ignore[attr-defined]
            train_loss=subject.train_loss,
            val_loss=subject.val_loss,
            hypergradient=reference,
        )
        for state in subject.inner_optimizer.state.values():
            state.update({key: value.double() for key, value in state.items() if key != "step"})
        doubled = [Batch(b.x.double(), b.y.double(), b.mask) for b in (train_batch, val_batch)]
        g = exact.hypergradient(*doubled)
    finally:
        torch.randn = perturbation
    return {name: float((estimate - g).norm() / g.norm()) for name, estimate in estimates.items()}


def spawn(args: argparse.Namespace, variant: str) -> dict[str, Any]:
    options = [f"--{name}={getattr(args, name)}" for name in ("tasks", "batch", "density", "repeats", "threads")]
    command = [sys.executable, __file__, "--variant", variant, *options]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(answer.splitlines()[-1])


def ratio(runs: list[dict[str, Any]]) -> float:
    """Median over rounds of variant / plain."""
    pairs = [v / p for run in runs for v, p in zip(run["seconds"]["variant"], run["seconds"]["plain"], strict=True)]
    return statistics.median(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=40, help="T (default 40)")
    parser.add_argument("--batch", type=int, default=512, help="molecules per batch (default 512)")
    parser.add_argument("--density", type=float, default=0.2, help="share of labels present (default 0.2)")
    parser.add_argument("--repeats", type=int, default=9, help="timed steps of each kind per process (default 9)")
    parser.add_argument("--processes", type=int, default=3, help="processes per variant (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        print(json.dumps(accuracy(args) if args.variant == "accuracy" else measure(args)))
        return

    errors = spawn(args, "accuracy")
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in [*VARIANTS, "fit", *map(str, MANY)]}
    for _ in range(args.processes):
        for name, answers in runs.items():
            answers.append(spawn(args, name))
    memory = {name: statistics.median(run["peak_mb"] for run in runs[name]) for name in VARIANTS}
    plain = statistics.median(s for run in runs["plain"] for s in run["seconds"]["plain"])
    print(f"plain step {plain:.3f} s, peak {memory['plain']:.0f} MB; λ: {args.tasks}²")
    print(f"{'':38}{'on top':>10}{'memory':>10}{'error':>10}")
    rows = {}
    for name in list(VARIANTS)[1:]:
        row = {
            "plain_steps_on_top": round(ratio(runs[name]) - 1, 3),
            "memory_on_top": round(memory[name] / memory["plain"] - 1, 3),
            "relative_error_float32": float(f"{errors[name]:.1e}"),
        }
        rows[name] = row
        print(f"{name:38}{row['plain_steps_on_top']:>10.2f}{row['memory_on_top']:>10.1%}{errors[name]:>10.1e}")
    fit = ratio(runs["fit"]) - 1
    outer, inner = runs["fit"][0]["outer_steps"] - 1, runs["fit"][0]["inner_steps"] - 1
    print(f"fit, default schedule ({outer} outer steps in {inner}): {fit:+.1%} wall time")
    many = {}
    for n in MANY:
        peak = statistics.median(run["peak_mb"] for run in runs[str(n)])
        many[n] = {"plain_steps_on_top": round(ratio(runs[str(n)]) - 1, 3), "peak_mb": round(peak)}
        print(f"{n:,} λ, MLP: {many[n]['plain_steps_on_top']:.2f} plain steps on top, peak {peak:.0f} MB")
    result = {
        "benchmark": "hypergradient",
        "variants": rows,
        "many_lambda": many,
        "fit_default_schedule": round(fit, 3),
        "plain_seconds": round(plain, 4),
        "plain_peak_mb": round(memory["plain"]),
        **{name: getattr(args, name) for name in ("tasks", "batch", "density", "repeats", "processes", "threads")},
        "torch": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
