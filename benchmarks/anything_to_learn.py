"""Does `signal` find the λ that matter, and does it keep its false alarms at the stated level?

**Series.** Made-up gradients of 8 λ with mean 0: independent steps, AR(1) with φ = .5, .7, .9, and "slow": AR(1) with
φ = .95 and half the standard deviation under independent noise. A false alarm: one λ or more told from chance (Holm,
5 %); beside it, how often p of all together is at most .05, and the share of single λ with p at most .05.

**Trainings.** A network of 16 tanh units, float32, `OneStep`, eight or more loss weights on a `Budget` that starts
equal, an outer step at every second inner step; AdamW for even seeds, Adam for odd ones. New examples in every batch,
so that what holds in the mean is known:

- `same`: all sources have the target's distribution. Nothing to learn (by symmetry every mean is 0).
- `distractors`: source k has labels = target + its own feature k. All alike by symmetry: nothing to learn.
- `distractors, 8 validation batches`: the same with a validation set of 8 fixed batches of 32. Nothing to learn for new
  validation data, but this validation set has its own preferences: with and without `validation_batches=8`.
- `opposite`: 4 sources have the target's labels, 4 their negative. All 8 matter.
- `stranger`: one of 12 sources has labels of another function, twice as large. That one matters.
- `heads`: a head per task; the target, 3 tasks of the same function, 3 of noise, 3 of other, larger functions. Those
  matter whose mean over the seeds stands more than 4 standard errors from 0.
- `fixed training set`: `same` with 32 training examples a source, used again and again. Not null: a source whose 32
  examples happen to be better is better, in this training.

Each training is looked at after 25, 50, 100 and 200 outer steps. `found`: share of the λ that matter told from chance;
`wrong`: told in the wrong direction. Intervals are binomial 95 % (Wilson). The last line printed is JSON.
"""

import argparse
import json
import math
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bilevel_hpo import BilevelLearner, Budget, LossWeights, OneStep
from bilevel_hpo.signal import Signal, signal

Array = NDArray[np.float64]
STEPS = (25, 50, 100, 200)
BATCH, EVERY, INPUTS, NOISE = 16, 2, 16, 0.3
KINDS = ("0", "0.5", "0.7", "0.9", "slow")
FIXED = 8
"""Validation batches of the problem that has a fixed validation set."""


@dataclass(frozen=True)
class Problem:
    """One of the trainings above."""

    name: str
    sources: int = 8
    matter: tuple[int, ...] | None = ()
    """The λ that matter: () none, None to be found from the mean over seeds."""
    direction: tuple[int, ...] = ()
    """Of these: −1 the training should want more of it, +1 less."""


PROBLEMS = (
    Problem("same"),
    Problem("distractors"),
    Problem("distractors, 8 validation batches"),
    Problem("opposite", matter=tuple(range(8)), direction=(-1,) * 4 + (1,) * 4),
    Problem("stranger", sources=12, matter=(0,), direction=(1,)),
    Problem("heads", sources=10, matter=None),
    Problem("fixed training set"),
)


class Data:
    """Batches of one problem and seed."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.draw = problem, torch.Generator().manual_seed(seed)
        self.target, self.other = self._random(4), self._random(3, 4)
        self.pool = self._new(32) if problem.name == "fixed training set" else None

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.draw)

    def _function(self, x: Tensor) -> Tensor:
        return torch.tanh(x[..., :4] @ self.target)

    def train(self) -> tuple[Tensor, Tensor]:
        """x `[sources, batch, inputs]` and y `[sources, batch]`."""
        if self.pool is None:
            return self._new(BATCH)
        rows = torch.randint(len(self.pool[1][0]), (BATCH,), generator=self.draw)
        return self.pool[0][:, rows], self.pool[1][:, rows]

    def validation(self) -> tuple[Tensor, Tensor]:
        """x `[batch, inputs]` and y `[batch]` of the target."""
        x = self._random(2 * BATCH, INPUTS)
        return x, self._function(x) + NOISE * self._random(2 * BATCH)

    def _new(self, n: int) -> tuple[Tensor, Tensor]:
        k = self.problem.sources
        x = self._random(k, n, INPUTS)
        y = self._function(x)
        name = self.problem.name
        if name.startswith("distractors"):
            y = y + torch.stack([x[i, :, 4 + i] for i in range(k)])
        elif name == "opposite":
            y = y * torch.tensor([1.0] * 4 + [-1.0] * 4)[:, None]
        elif name == "stranger":
            y[0] = 2 * torch.tanh(x[0, :, 4:8] @ self.other[0])
        elif name == "heads":
            y[4:7] = 0.0
            y[7:] = 3 * torch.tanh(x[7:, :, 4:8] @ self.other[:, :, None])[..., 0]
        return x, y + NOISE * self._random(k, n)


def training(problem: Problem, seed: int) -> pd.DataFrame:
    """The history of one training."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    data = Data(problem, seed)
    heads = problem.name == "heads"
    model = nn.Sequential(nn.Linear(INPUTS, 16), nn.Tanh(), nn.Linear(16, problem.sources if heads else 1))

    def train_loss(model: nn.Module, lambda_: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        out = model(x)
        predicted = torch.stack([out[k, :, k] for k in range(problem.sources)]) if heads else out[..., 0]
        return lambda_ @ (predicted - y).square().mean(1)

    def val_loss(model: nn.Module, _: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (model(batch[0])[..., 0] - batch[1]).square().mean()

    weights = LossWeights([str(k) for k in range(problem.sources)], constraint=Budget())
    optimizer = (torch.optim.Adam if seed % 2 else torch.optim.AdamW)(model.parameters(), lr=3e-3)
    learner = BilevelLearner(
        model, optimizer, weights, train_loss=train_loss, val_loss=val_loss, hypergradient=OneStep()
    )
    fixed = [data.validation() for _ in range(FIXED)] if problem.name.endswith("validation batches") else None
    for step in range(max(STEPS) * EVERY):
        if step % EVERY:
            learner.inner_step(data.train())
        else:
            validation = data.validation() if fixed is None else fixed[step // EVERY % FIXED]
            learner.step(data.train(), validation)
    return learner.history


def judged(history: pd.DataFrame, batches: int | None) -> list[Signal]:
    """The verdicts after each of `STEPS`."""
    names = [str(c).removeprefix("lambda:") for c in history if str(c).startswith("lambda:")]
    weights = LossWeights(names, constraint=Budget())
    return [signal(history.iloc[:n], weights, validation_batches=batches) for n in STEPS]


def interval(hits: int, n: int) -> list[float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return [round(max(middle - half, 0.0), 3), round(min(middle + half, 1.0), 3)]


def summary(problem: Problem, name: str, signals: list[list[Signal]]) -> list[dict[str, Any]]:
    """A row per number of outer steps."""
    rows = []
    for i, n in enumerate(STEPS):
        found = [each[i] for each in signals]
        alarms, together = sum(s.told > 0 for s in found), sum(s.p <= 0.05 for s in found)
        means = np.array([s.table["mean"].to_numpy() for s in found])
        told = np.array([s.table["told"].to_numpy() for s in found])
        row: dict[str, Any] = {"problem": name, "outer_steps": n, "seeds": len(found)}
        row |= {"any_told": round(alarms / len(found), 3), "any_told_interval": interval(alarms, len(found))}
        row |= {"together": round(together / len(found), 3), "together_interval": interval(together, len(found))}
        row |= {"p_below_5_percent": round(float(np.mean([(s.table["p"] <= 0.05).mean() for s in found])), 3)}
        row |= {"effective_steps": round(float(np.median([s.effective_steps for s in found])), 0)}
        matter, direction = problem.matter, np.array(problem.direction)
        if matter is None:
            t = means.mean(0) / (means.std(0, ddof=1) / math.sqrt(len(found)))
            matter = tuple(int(k) for k in np.flatnonzero(np.abs(t) > 4))
            direction = np.sign(t[list(matter)]).astype(int)
        if matter:
            columns = list(matter)
            right = told[:, columns] & (np.sign(means[:, columns]) == direction)
            row |= {"matter": columns, "found": round(float(right.mean()), 3)}
            row |= {"found_each": [round(float(share), 2) for share in right.mean(0)]}
            row |= {"wrong": round(float((told[:, columns] & ~right).mean()), 4)}
        rows.append(row)
    return rows


def autoregressive(random: np.random.Generator, n: int, phi: float) -> Array:
    """8 stationary AR(1) series of variance 1, `[n, 8]`."""
    x = random.standard_normal((n, 8))
    for i in range(1, n):
        x[i] = phi * x[i - 1] + math.sqrt(1 - phi * phi) * x[i]
    return x


def series(kind: str, n: int, repeats: int) -> dict[str, Any]:
    """False alarms on made-up gradients."""
    random = np.random.default_rng([n, KINDS.index(kind)])
    alarms = together = 0
    single = 0.0
    for _ in range(repeats):
        if kind == "slow":
            x = 0.5 * autoregressive(random, n, 0.95) + random.standard_normal((n, 8))
        else:
            x = autoregressive(random, n, float(kind))
        columns = {f"lambda:{k}": np.ones(n) for k in range(8)} | {f"g:{k}": x[:, k] for k in range(8)}
        said = signal(pd.DataFrame({"skipped": np.zeros(n, dtype=bool)} | columns))
        alarms, together = alarms + (said.told > 0), together + (said.p <= 0.05)
        single += float((said.table["p"] <= 0.05).mean())
    row: dict[str, Any] = {"series": kind, "outer_steps": n, "repeats": repeats}
    row |= {"any_told": round(alarms / repeats, 3), "any_told_interval": interval(alarms, repeats)}
    row |= {"together": round(together / repeats, 3), "together_interval": interval(together, repeats)}
    return row | {"p_below_5_percent": round(single / repeats, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {"series": [], "trainings": []}
    cells = [(kind, n, arguments.repeats) for kind in KINDS for n in (20, 50, 100, 200)]
    with ProcessPoolExecutor(arguments.workers) as pool:
        for row in pool.map(series, *zip(*cells, strict=True)):
            rows["series"].append(row)
            print(row, flush=True)
        for problem in PROBLEMS:
            histories = list(pool.map(partial(training, problem), range(arguments.seeds)))
            fixed = problem.name.endswith("validation batches")
            looks = {problem.name: None} | ({f"{problem.name}, given": FIXED} if fixed else {})
            for name, batches in looks.items():
                found = summary(problem, name, [judged(history, batches) for history in histories])
                rows["trainings"] += found
                print(*found, sep="\n", flush=True)
    command = "python benchmarks/anything_to_learn.py " + shlex.join(sys.argv[1:])
    result = {"benchmark": "signal", "command": command.strip(), "torch": torch.__version__, **rows}
    if arguments.out:
        tables = ",\n".join(
            f' "{key}": [\n  ' + ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows[key]) + "\n ]"
            for key in rows
        )
        head = ",\n".join(f' "{key}": {json.dumps(result[key])}' for key in ("benchmark", "command", "torch"))
        arguments.out.write_text("{\n" + head + ",\n" + tables + "\n}\n", encoding="utf-8")
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
