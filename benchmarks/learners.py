"""Variants of the λ-learner on many tasks, judged on selection molecules: what was tried beside the budget.

Every variant trains on the same molecules, splits and seeds as constant λ = 0, 0.3 and 1 with the same settings; given
is the geometric mean over tasks and seeds of the ratio of RMSE to λ = 0. Test molecules are not looked at. A variant
and seed that has its file in --out is not run again.

    python benchmarks/learners.py --seeds 3 --out runs/learners
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bilevel_hpo import Budget, Hypergradient, Neumann, Nystrom, TransferRatios
from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.splits import split_of
from gate_model.model.evaluation import predict, rmse
from gate_model.training.methods import LEARNED, Method, constant, relative
from gate_model.training.settings import Settings
from gate_model.training.train import train


class Tied(Budget):
    """A softmax over the paths of each target, of logits `tie(raw)`; those of the direct paths stay their own."""

    def __init__(self, tie: Callable[[Tensor], Tensor]) -> None:
        super().__init__(total=1.0, direct=0.8)
        self.tie = tie

    def forward(self, raw: Tensor) -> Tensor:
        eye = torch.eye(len(raw))
        return (self.tie(raw * (1 - eye)) * (1 - eye) + raw * eye).softmax(-1)


class OneBudget(Budget):
    """All T² weights share one sum, T: targets compete too."""

    def forward(self, raw: Tensor) -> Tensor:
        return len(raw) * raw.flatten().softmax(0).view_as(raw)


class MeanHeld(Budget):
    """All λ_{s→t} share one sum, so that their mean stays 0.3; the weights of every target then sum to 1."""

    def forward(self, raw: Tensor) -> Tensor:
        n = len(raw)
        others = raw.masked_fill(torch.eye(n, dtype=torch.bool), -torch.inf)
        weights = torch.eye(n) + 0.3 * n * others.flatten().softmax(0).view(n, n)
        return weights / weights.sum(1, keepdim=True)

    def inverse(self, lambda_: Tensor) -> Tensor:
        return torch.zeros_like(lambda_)


def by_source(raw: Tensor) -> Tensor:
    """A source is as good for every target."""
    return raw.sum(0, keepdim=True) / (len(raw) - 1)


def by_target(raw: Tensor) -> Tensor:
    """All sources are alike; a target has its share of direct path."""
    return raw.sum(1, keepdim=True) / (len(raw) - 1)


def symmetric(raw: Tensor) -> Tensor:
    """Logits of s → t and t → s are one number, before the softmax."""
    return (raw + raw.T) / 2


class LowRank(Tied):
    """Logits a_t·b_s of rank 4; the first eight columns of raw hold a and b."""

    def __init__(self) -> None:
        super().__init__(lambda raw: raw[:, :4] @ raw[:, 4:8].T)

    def inverse(self, lambda_: Tensor) -> Tensor:
        raw = super().inverse(lambda_)
        level = raw[0, 0] - raw[0, 1]  # of the direct paths above the others
        small = 0.1 * torch.randn(raw.shape, generator=torch.Generator().manual_seed(0))
        return small.fill_diagonal_(float(level))


def tied(constraint: Budget) -> Callable[[Sequence[str]], TransferRatios]:
    """Ratios that start at λ = 0.25 and live under `constraint`."""

    def ratios(tasks: Sequence[str]) -> TransferRatios:
        plain = TransferRatios(tasks, constraint=Budget(total=1.0, direct=0.8))
        return TransferRatios(tasks, init=plain().detach(), constraint=constraint)

    return ratios


def starting_at(direct: float) -> Callable[[Sequence[str]], TransferRatios]:
    """A budget per target that begins with this share for the direct path."""
    return lambda tasks: TransferRatios(tasks, constraint=Budget(total=1.0, direct=direct))


@dataclass(frozen=True)
class Variant:
    """One way of learning λ: what differs from `gate learn`."""

    weights: Callable[[Sequence[str]], TransferRatios] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    """Fields of `Learning`."""
    hypergradient: Hypergradient | None = None
    constant: float | None = None
    restart: bool = False
    """Train once more, with what was learned as constant λ."""

    def method(self) -> Method:
        """For `train`."""
        if self.constant is not None:
            return constant("", "", self.constant)
        estimator = {} if self.hypergradient is None else {"estimator": self.hypergradient}
        budget = LEARNED["budget"].learning_with(**estimator, **self.schedule)
        return replace(budget, ratios=self.weights or budget.ratios)


VARIANTS = {
    "λ = 0": Variant(constant=0.0),
    "λ = 0.3": Variant(constant=0.3),
    "λ = 1": Variant(constant=1.0),
    "budget": Variant(),
    "start at 0.5": Variant(starting_at(0.5)),
    "start at 0.95": Variant(starting_at(0.95)),
    "outer learning rate 0.05": Variant(schedule={"outer_lr": 0.05}),
    "outer learning rate 0.2": Variant(schedule={"outer_lr": 0.2}),
    "outer step every 2": Variant(schedule={"outer_every": 2, "outer_lr": 0.02}),
    "outer step every 8": Variant(schedule={"outer_every": 8, "outer_lr": 0.05}),
    "warm-up of a half": Variant(schedule={"warm_up": 0.5}),
    "no warm-up": Variant(schedule={"warm_up": 0.0}),
    "no warm-up, every 8": Variant(schedule={"warm_up": 0.0, "outer_every": 8, "outer_lr": 0.05}),
    "one budget for all targets": Variant(tied(OneBudget(total=1.0))),
    "mean of λ held at 0.3": Variant(tied(MeanHeld())),
    "logits by source": Variant(tied(Tied(by_source))),
    "logits by target": Variant(tied(Tied(by_target))),
    "logits of rank 4": Variant(tied(LowRank())),
    "symmetric logits": Variant(tied(Tied(symmetric))),
    "H = I": Variant(schedule={"outer_lr": 0.2}, hypergradient=Neumann(terms=1, step_size=1.0)),
    "Nyström of rank 3": Variant(schedule={"outer_lr": 0.2}, hypergradient=Nystrom(rank=3, damping=0.01)),
    "Nyström of rank 10": Variant(schedule={"outer_lr": 0.2}, hypergradient=Nystrom(rank=10, damping=0.01)),
    "frozen and restarted": Variant(restart=True),
    "without exchange": Variant(settings={"exchange": 0.0}),
    "λ = 0 without exchange": Variant(constant=0.0, settings={"exchange": 0.0}),
}


def run(name: str, data: PreparedData, seed: int, epochs: int, file: Path) -> str:
    """Train and write RMSE per task on the selection molecules."""
    torch.set_num_threads(1)
    variant, started = VARIANTS[name], time.process_time()
    settings = Settings(epochs=epochs, **variant.settings)
    trained = train(data, variant.method(), settings, seed=seed)
    if variant.restart:
        learned = relative(trained.ratios)
        matrix = tuple(tuple(row) for row in learned.tolist())
        trained = train(data, constant("", "", matrix), settings, seed=seed)
    x, labels = data.some(data.split.selection)
    found = rmse(predict(trained.model, x), labels)
    file.write_text(json.dumps({"rmse": found.tolist(), "cpu_seconds": time.process_time() - started}))
    return f"{name}, seed {seed}: {found.mean():.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-least", type=int, default=4)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the train and validation molecules")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=Settings().epochs)
    parser.add_argument("--variants", nargs="+", metavar="NAME", default=list(VARIANTS), help="all, when left out")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/learners"))
    args = parser.parse_args()
    if unknown := [name for name in args.variants if name not in VARIANTS]:
        parser.error(f"--variants: no variant is called {', '.join(unknown)}; known are {', '.join(VARIANTS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    names = [name for name in VARIANTS if name in args.variants or name == "λ = 0"]
    table = load_chemicals(None, derived=True).with_at_least(args.at_least)
    files = {(n, s): args.out / f"{n}-seed{s}.json" for n in names for s in range(args.seeds)}
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
        pending = []
        for seed in range(args.seeds):
            todo = [name for name in names if not files[name, seed].exists()]
            if todo:
                data = prepare(table, seed=seed, split=split_of(table, "scaffold", args.fraction, seed=seed))
                pending += [pool.submit(run, name, data, seed, args.epochs, files[name, seed]) for name in todo]
        for future in pending:
            print(future.result(), flush=True)
    found = {key: json.loads(file.read_text()) for key, file in files.items()}
    rows = []
    for name in names:
        logs = np.log([found[name, s]["rmse"] for s in range(args.seeds)])
        ratio = logs - np.log([found["λ = 0", s]["rmse"] for s in range(args.seeds)])
        rows.append(
            {
                "variant": name,
                "to λ = 0": round(float(np.exp(ratio.mean())), 4),
                "by seed": np.exp(ratio.mean(1)).round(4).tolist(),
                "tasks better": int((ratio.mean(0) < 0).sum()),
                "cpu_seconds": round(float(np.mean([found[name, s]["cpu_seconds"] for s in range(args.seeds)])), 1),
            }
        )
        print(f"{name:28}", *list(rows[-1].values())[1:])
    command = shlex.join(["python", "benchmarks/learners.py", *sys.argv[1:]])
    facts = {"command": command, "benchmark": "learners", "molecules": len(table.smiles), "fraction": args.fraction}
    print(json.dumps(facts | {"epochs": args.epochs, "seeds": args.seeds, "rows": rows}, ensure_ascii=False))


if __name__ == "__main__":
    main()
