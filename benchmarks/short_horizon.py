"""Which hypergradient finds the best loss weights in one training, and which is fooled by looking one step ahead?

Two small problems (float64), each with 30 noisy labels of a target task, a related task and a harmful one, 400 labels
each: L_train = λ_direct·l_target + λ_related·l_related + λ_harmful·l_harmful, L_val = the target's loss on 100 other
labels.

- `shared`: linear regression, one weight vector for all three losses. 20 features of variance 1/i; labels of the
  related task come from a function of correlation 0.9 with the target's, those of the harmful task from an unrelated
  one.
- `heads`: one hidden layer of 8 tanh units shared by three heads. The target and related functions read the same four
  hidden units of a teacher, the related one two more besides; the harmful task's labels are noise.

**Truth.** Each λ of a grid is trained to the end (same optimizer, number of steps and batch sizes; 4 trainings with
different starts and batches), and λ* has the lowest final L_val: on the budget λ ≥ 0, Σλ = 3, by steps of 0.1 of the
budget, then of 0.025 around the best; and on the box [0, 3]³.

**Learning.** Each combination of estimator, constraint and schedule learns λ in one training (another start, other
batches), from λ = (1, 1, 1). The result is the mean of λ over the last quarter of the training. It is judged by
training anew with that λ held fixed, 4 times, with starts and batches that neither the truth nor the learning has
seen; so is λ*. `excess` = L_val / L_val(λ* on the budget) − 1. Beside it: the excess with λ rescaled to Σλ = 3, which
takes growth away and leaves the proportions; with the last λ; and that of the learning training itself, against λ* on
the same start and batches.

A seed is a draw of the whole problem: functions, data, starts, batches. Figures are means ± standard deviations over
seeds. The seeds train side by side as rows of one λ matrix, each with a loss of its own; the optimizers on θ and λ
work element by element, so that the rows do not mix. Implicit estimators, whose solvers would mix them, learn one by
one.

The learning rates are the best for λ = (1, 1, 1) by final L_val (`--sweep` prints them); SGD is tried at 10
times its best, too. Results are written to --out as they come; the last line is JSON.
"""

import argparse
import itertools
import json
import math
import re
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bilevel_hpo import (
    BilevelLearner,
    Box,
    Budget,
    ConjugateGradient,
    Direct,
    FiniteDifference,
    Neumann,
    OneStep,
    Positive,
    TransferRatios,
    Unrolled,
)
from bilevel_hpo.constraints import Constraint
from bilevel_hpo.errors import NonFiniteError, NonFiniteWarning
from bilevel_hpo.hypergradients import Hypergradient

TASKS = ("direct", "related", "harmful")
TOTAL = 3.0
"""Of a budget; λ = (1, 1, 1) is the start with and without one."""
LABELS, VALIDATION, TEST, BATCH = (30, 400, 400), 100, 2000, 20
EPOCH, EPOCHS, OUTER_EVERY = 100, 15, 5
HORIZON = (0.99, 0.999)
TRUTH, JUDGE, LEARN = range(4), range(10, 14), 99
"""Numbers of the starts and batches: of the trainings that find λ*, of those that judge, of the one that learns."""
SWEPT = (0.0003, 0.001, 0.003, 0.01)
HIGH = 10
LEARNING_RATE = {("shared", "sgd"): 3e-4, ("shared", "adamw"): 1e-3, ("heads", "sgd"): 3e-4, ("heads", "adamw"): 1e-3}

Rows = list[tuple[Tensor, Tensor]]
"""Features `[K, B, D]` and labels `[K, B]` of each task, for K trainings side by side."""


def draw(problem: str, seed: int) -> dict[str, Rows]:
    """The data of one seed, K = 1: "train" and "val" rows of all tasks, "test" rows of the target."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    functions: list[Callable[[Tensor], Tensor]]
    if problem == "shared":
        scale, noise = torch.arange(1, 21).double() ** -0.5, (0.5, 0.5, 0.5)

        def direction() -> Tensor:
            w = normal(20)
            return w / (w * scale).norm()

        target, other, harmful = direction(), direction(), direction()
        related = 0.9 * target + math.sqrt(1 - 0.9**2) * other
        functions = [lambda x, w=w: x @ w for w in (target, related, harmful)]
    else:
        scale, noise = torch.ones(10), (0.5, 0.5, 1.0)
        hidden, read = normal(10, 6) / math.sqrt(10) * 2, normal(2, 6)
        read[0, 4:] = 0  # the target reads four of the units
        read[1, :4] = 0.7 * read[0, :4] + math.sqrt(1 - 0.7**2) * read[1, :4]
        sizes = ((normal(4000, 10) @ hidden).tanh() @ read.T).std(0)
        functions = [lambda x, i=i: (x @ hidden).tanh() @ read[i] / sizes[i] for i in (0, 1)]
        functions.append(lambda x: torch.zeros(len(x)))

    def rows(task: int, n: int) -> tuple[Tensor, Tensor]:
        x = normal(n, len(scale)) * scale
        y = functions[task](x) + noise[task] * normal(n)
        return x[None], y[None]

    return {
        "train": [rows(task, n) for task, n in enumerate(LABELS)],
        "val": [rows(task, VALIDATION) for task in range(3)],
        "test": [rows(0, TEST)],
    }


class Nets(nn.Module):
    """K × P independent models, those of a row alike at the start; parameters `[K, …, P, …]`."""

    def __init__(self, problem: str, starts: list[tuple[int, int]], points: int) -> None:
        super().__init__()
        self.linear = problem == "shared"
        drawn = [self._start(torch.Generator().manual_seed(10_000 + 100 * s + r)) for s, r in starts]
        for name in drawn[0]:
            start = torch.stack([d[name] for d in drawn]).unsqueeze(2)
            self.register_parameter(name, nn.Parameter(start.expand(-1, -1, points, *start.shape[3:]).contiguous()))

    def _start(self, generator: torch.Generator) -> dict[str, Tensor]:
        def uniform(n: int, *shape: int) -> Tensor:
            return (2 * torch.rand(*shape, generator=generator) - 1) / math.sqrt(n)

        if self.linear:
            return {"weight": uniform(20, 20)}
        return {
            "weight": uniform(10, 10, 8),
            "bias": uniform(10, 1, 8),
            "head": uniform(8, 3, 8),
            "zero": torch.zeros(3),
        }

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Predictions for a task, `[K, B, P]`."""
        if self.linear:
            return x @ self.weight
        k, d, p, h = self.weight.shape
        hidden = (x @ self.weight.view(k, d, p * h)).view(k, -1, p, h) + self.bias
        return (hidden.tanh() * self.head[:, task, None]).sum(-1) + self.zero[:, task, None]


def losses(model: nn.Module, rows: Rows) -> Tensor:
    """Mean squared error of every task `[K, P, tasks]`."""
    errors = [(model(x, task) - y.unsqueeze(-1)).square().mean(1) for task, (x, y) in enumerate(rows)]
    return torch.stack(errors, -1)


class Batches:
    """`EPOCH` batches a pass, rows drawn with replacement; the same for the same starts, other ones in each pass."""

    def __init__(self, data: list[dict[str, Rows]], starts: list[tuple[int, int]]) -> None:
        self.rows = [[d["train"][task] for d in data] for task in range(3)]
        self.generators = [torch.Generator().manual_seed(20_000 + 100 * s + r) for s, r in starts]

    def __iter__(self) -> Iterator[Rows]:
        drawn = []
        for task in self.rows:
            pairs = []
            for (x, y), generator in zip(task, self.generators, strict=True):
                picks = torch.randint(x.shape[1], (EPOCH, BATCH), generator=generator)
                pairs.append((x[0, picks], y[0, picks]))
            drawn.append((torch.stack([x for x, _ in pairs], 1), torch.stack([y for _, y in pairs], 1)))
        for step in range(EPOCH):
            yield [(x[step], y[step]) for x, y in drawn]


def stacked(data: list[dict[str, Rows]], part: str) -> Rows:
    tasks = range(len(data[0][part]))
    return [(torch.cat([d[part][t][0] for d in data]), torch.cat([d[part][t][1] for d in data])) for t in tasks]


@dataclass
class Setting:
    """A problem under an inner optimizer, with its seeds."""

    problem: str
    optimizer: str
    data: list[dict[str, Rows]]
    seeds: list[int]
    lr: float
    epochs: int

    def train(self, lambda_: Tensor, numbers: range) -> tuple[Tensor, Tensor]:
        """Final L_val and test loss `[seeds, P]` with λ `[seeds, P, 3]` held fixed; means over the trainings."""
        starts = [(seed, number) for seed in self.seeds for number in numbers]
        data = [one for one in self.data for _ in numbers]
        weights = lambda_.repeat_interleave(len(numbers), 0)
        model = Nets(self.problem, starts, lambda_.shape[1])
        optimizer, batches = self.inner_optimizer(model), Batches(data, starts)
        for _ in range(self.epochs):
            for batch in batches:
                optimizer.zero_grad()
                (weights * losses(model, batch)).sum().backward()
                optimizer.step()
        with torch.no_grad():
            final = [losses(model, stacked(data, part)[:1])[..., 0] for part in ("val", "test")]
        val, test = (f.view(len(self.data), len(numbers), -1).mean(1).nan_to_num(math.inf) for f in final)
        return val, test

    def inner_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(model.parameters(), lr=self.lr, momentum=0.9)
        return torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=0.01)

    def best_on_budget(self) -> Tensor:
        """λ* of every seed on the budget, `[seeds, 3]`."""
        shares = torch.tensor([(i, j, 10 - i - j) for i in range(11) for j in range(11 - i)]) / 10
        best = self._best(TOTAL * shares.expand(len(self.data), -1, -1)) / TOTAL
        offsets = torch.tensor([(i, j, -i - j) for i in range(-3, 4) for j in range(-3, 4)]) * 0.025
        fine = (best[:, None] + offsets).clamp_min(0)
        return self._best(TOTAL * fine / fine.sum(-1, keepdim=True))

    def best_in_box(self) -> Tensor:
        """λ* of every seed in [0, 3]³, `[seeds, 3]`."""
        grid = torch.tensor(list(itertools.product((0.0, 0.5, 1.0, 2.0, 3.0), repeat=3)))
        best = self._best(grid.expand(len(self.data), -1, -1))
        offsets = torch.tensor(list(itertools.product((-0.25, 0.0, 0.25), repeat=3)))
        return self._best((best[:, None] + offsets).clamp(0, 3))

    def _best(self, lambda_: Tensor) -> Tensor:
        val, _ = self.train(lambda_, TRUTH)
        return lambda_[torch.arange(len(lambda_)), val.argmin(1)]


@dataclass
class Method:
    """A combination to learn λ with."""

    estimator: Callable[[], Hypergradient]
    constraint: Constraint
    warm_up: bool = False
    """For a quarter of the training."""
    betas: tuple[float, float] = (0.9, 0.999)
    outer_every: int = OUTER_EVERY
    one_by_one: bool = False
    fixed_direct: bool = False
    """The direct path keeps weight 1, as in the paper."""

    def learn(self, setting: Setting) -> dict[str, Tensor]:
        """λ averaged over the last quarter and at the end, `[seeds, 3]`; the largest Σλ and the final L_val."""
        seeds = list(range(len(setting.data)))  # rows of the data
        if not self.one_by_one:
            found = self._learn(setting, seeds)
            if bool(found["finite"].all()):
                return found
        alone = [self._learn(setting, [seed]) for seed in seeds]
        return {key: torch.cat([found[key] for found in alone]) for key in alone[0]}

    def _learn(self, setting: Setting, seeds: list[int]) -> dict[str, Tensor]:
        starts, data = [(setting.seeds[s], LEARN) for s in seeds], [setting.data[s] for s in seeds]
        model = Nets(setting.problem, starts, 1)
        weights = TransferRatios([f"seed {s}" for s in seeds], TASKS, torch.ones(len(seeds), 3), self.constraint)
        direct = isinstance(self.estimator(), Direct)

        def weighted(model: nn.Module, lambda_: Tensor, rows: Rows) -> Tensor:
            if self.fixed_direct:
                lambda_ = torch.cat([torch.ones_like(lambda_[:, :1]), lambda_[:, 1:]], 1)
            return (lambda_[:, None] * losses(model, rows)).sum()

        def target(model: nn.Module, _: Tensor, rows: Rows) -> Tensor:
            return losses(model, rows[:1]).sum()

        learner = BilevelLearner(
            model,
            setting.inner_optimizer(model),
            weights,
            train_loss=weighted,
            val_loss=weighted if direct else target,
            hypergradient=self.estimator(),
            outer_optimizer=torch.optim.Adam(weights.parameters(), lr=0.02, betas=self.betas),
        )
        val, finite = stacked(data, "val"), True
        quarter = setting.epochs * EPOCH // 4
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NonFiniteWarning)
            try:
                learner.fit(
                    Batches(data, starts), [val], setting.epochs, self.outer_every, warm_up=quarter * self.warm_up
                )
            except NonFiniteError:
                finite = False
        path = torch.tensor(learner.history.filter(like="lambda:").to_numpy()).view(-1, len(seeds), 3)
        with torch.no_grad():
            final = losses(model, val[:1])[:, 0, 0].nan_to_num(math.inf)
            end = weights()
        at = torch.tensor(learner.history["inner_step"].to_numpy())
        quarters = [path[max(0, int((at <= q * quarter).sum()) - 1)] for q in range(4)] + [end]
        return {
            "mean": path[-(quarter // self.outer_every) :].mean(0),
            "end": end,
            "quarters": torch.stack(quarters, 1),
            "largest_sum": path.sum(-1).amax(0),
            "online": final,
            "finite": torch.full((len(seeds),), finite and not learner.skipped),
        }


BUDGET = Budget(TOTAL)
METHODS = {
    "OneStep, free": Method(OneStep, Positive()),
    "OneStep, free, warm-up + horizon": Method(OneStep, Positive(), warm_up=True, betas=HORIZON),
    "OneStep, Box(0, 3)": Method(OneStep, Box(0, 3)),
    "OneStep, Budget": Method(OneStep, BUDGET),
    "OneStep, Budget, warm-up": Method(OneStep, BUDGET, warm_up=True),
    "OneStep, Budget, horizon": Method(OneStep, BUDGET, betas=HORIZON),
    "OneStep, Budget, warm-up + horizon": Method(OneStep, BUDGET, warm_up=True, betas=HORIZON),
    "OneStep, free, every step": Method(OneStep, Positive(), outer_every=1),
    "OneStep, Budget, every step": Method(OneStep, BUDGET, outer_every=1),
    "OneStep, Budget, warm-up, every step": Method(OneStep, BUDGET, warm_up=True, outer_every=1),
    "FiniteDifference, Budget": Method(FiniteDifference, BUDGET),
    "Unrolled(5), free": Method(lambda: Unrolled(5), Positive()),
    "Unrolled(5), Budget": Method(lambda: Unrolled(5), BUDGET),
    "Unrolled(20), free": Method(lambda: Unrolled(20), Positive()),
    "Unrolled(20), Budget": Method(lambda: Unrolled(20), BUDGET),
    "Unrolled(20, truncate=5), free": Method(lambda: Unrolled(20, truncate=5), Positive()),
    "Unrolled(20, truncate=5), Budget": Method(lambda: Unrolled(20, truncate=5), BUDGET),
    "ConjugateGradient, free, warm-up": Method(
        lambda: ConjugateGradient(20, damping=0.01), Positive(), warm_up=True, one_by_one=True
    ),
    "ConjugateGradient, Budget, warm-up": Method(
        lambda: ConjugateGradient(20, damping=0.01), BUDGET, warm_up=True, one_by_one=True
    ),
    "Neumann, free, warm-up": Method(Neumann, Positive(), warm_up=True, one_by_one=True),
    "Neumann, Budget, warm-up": Method(Neumann, BUDGET, warm_up=True, one_by_one=True),
    "Direct, Box(0, 1), direct path fixed": Method(Direct, Box(0, 1), fixed_direct=True),
    "Direct, Budget": Method(Direct, BUDGET),
}
STRESSED = [name for name in METHODS if name.startswith("OneStep") and "every step" not in name]
"""Those also tried at `HIGH` times the learning rate."""


def share(lambda_: Tensor) -> Tensor:
    return lambda_ / lambda_.sum(-1, keepdim=True).clamp_min(1e-12)


def spread(values: Tensor) -> list[Any]:
    """Mean and standard deviation over seeds of `[seeds, …]`, three decimals; null where a training diverged."""
    sd = values.std(0) if len(values) > 1 else torch.zeros_like(values[0])
    pairs = torch.stack([values.mean(0), sd], -1).reshape(-1, 2).tolist()
    rounded = [[round(v, 3) if math.isfinite(v) else None for v in pair] for pair in pairs]
    return rounded if values.ndim > 1 else rounded[0]


def compare(setting: Setting, methods: dict[str, Method], note: Callable[[dict[str, Any]], None]) -> None:
    """Truth, learning and judgement of one setting; `note` gets what is known so far."""
    found: dict[str, Any] = {"learning_rate": setting.lr, "rows": {}}
    on_budget, in_box = setting.best_on_budget(), setting.best_in_box()
    fixed = {
        "λ*, on the budget": on_budget,
        "λ*, in the box": in_box,
        "λ* of the mean, on the budget": share(on_budget).mean(0).expand_as(on_budget) * TOTAL,
        "equal (1, 1, 1)": torch.ones_like(on_budget),
        "direct only (3, 0, 0)": torch.tensor([TOTAL, 0, 0]).expand_as(on_budget),
        "direct only (1, 0, 0)": torch.tensor([1.0, 0, 0]).expand_as(on_budget),
    }
    for name, lambda_ in fixed.items():
        found["rows"][name] = {"lambda": spread(lambda_), "sum": spread(lambda_.sum(-1))}
    learned: dict[str, dict[str, Tensor]] = {}
    for name, method in methods.items():
        started = time.process_time()
        learned[name] = one = method.learn(setting)
        seconds = time.process_time() - started
        found["rows"][name] = {
            "lambda": spread(one["mean"]),
            "lambda_end": spread(one["end"]),
            "lambda_after_quarters": [[round(v, 2) for v in at] for at in one["quarters"].mean(0).tolist()],
            "sum": spread(one["mean"].sum(-1)),
            "largest_sum": spread(one["largest_sum"]),
            "share_distance": spread((share(one["mean"]) - share(on_budget)).abs().sum(-1) / 2),
            "seconds": round(seconds, 1),
        }
        note(found)
        print(f"{setting.problem} {setting.optimizer} {name}: λ {found['rows'][name]['lambda']}", flush=True)
    judged = list(fixed.values())
    for one in learned.values():
        judged += [one["mean"], share(one["mean"]) * TOTAL, one["end"]]
    val, test = setting.train(torch.stack(judged, 1), JUDGE)
    same, _ = setting.train(on_budget[:, None], range(LEARN, LEARN + 1))
    excess, excess_test = val / val[:, :1] - 1, test / test[:, :1] - 1
    for i, name in enumerate(fixed):
        row = found["rows"][name]
        row |= {"val_loss": spread(val[:, i]), "excess": spread(excess[:, i]), "excess_test": spread(excess_test[:, i])}
    for j, (name, one) in enumerate(learned.items()):
        i = len(fixed) + 3 * j
        found["rows"][name] |= {
            "val_loss": spread(val[:, i]),
            "excess": spread(excess[:, i]),
            "excess_seeds": [round(v, 3) for v in excess[:, i].tolist()],
            "excess_test": spread(excess_test[:, i]),
            "excess_rescaled": spread(excess[:, i + 1]),
            "excess_end": spread(excess[:, i + 2]),
            "excess_online": spread(one["online"] / same[:, 0] - 1),
            "better_than_equal": int((val[:, i] < val[:, 3]).sum()),
            "better_than_direct_only": int((val[:, i] < val[:, 4]).sum()),
            "diverged": int((~val[:, i].isfinite()).sum()),
        }
    note(found)


def table(results: dict[str, Any]) -> str:
    """Markdown, a table per setting; losses in % above λ*."""

    def percent(row: dict[str, Any], key: str) -> str:
        if key not in row:
            return ""
        mean, sd = row[key]
        return "diverged" if sd is None else f"{100 * mean:+.0f} ± {100 * sd:.0f}"

    lines = []
    for name, found in results.items():
        lines += [
            f"\n{name}, lr {found['learning_rate']:g}; L_val in % above that of λ*\n",
            "| λ | direct, related, harmful | Σλ | excess | rescaled | last λ | same training | test |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for label, row in found["rows"].items():
            lambda_ = ", ".join(f"{mean:.2f} ± {sd:.2f}" for mean, sd in row["lambda"])
            cells = [percent(row, f"excess{k}") for k in ("", "_rescaled", "_end", "_online", "_test")]
            lines.append(f"| {label} | {lambda_} | {row['sum'][0]:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sweep(seeds: int) -> None:
    """Final L_val at λ = (1, 1, 1) for the learning rates to choose from."""
    for problem, optimizer in LEARNING_RATE:
        data = [draw(problem, seed) for seed in range(seeds)]
        for lr in SWEPT:
            val, _ = Setting(problem, optimizer, data, [*range(seeds)], lr, EPOCHS).train(
                torch.ones(seeds, 1, 3), TRUTH
            )
            print(f"{problem} {optimizer} lr {lr:g}: L_val {val.mean():.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", default="", help="methods in whose names this regular expression is found")
    parser.add_argument(
        "--quick", action="store_true", help="2 seeds, a fifth of the steps, fast methods: a smoke test"
    )
    parser.add_argument("--sweep", action="store_true", help="print L_val by learning rate, and stop")
    parser.add_argument("--out", type=Path, help="where to write the results, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    if options.sweep:
        sweep(options.seeds)
        return
    seeds = range(options.first_seed, options.first_seed + (2 if options.quick else options.seeds))
    pattern = options.only or ("^OneStep, (free|Budget)$|^Direct" if options.quick else "")
    methods = {name: method for name, method in METHODS.items() if re.search(pattern, name)}
    settings: dict[str, Any] = {}
    report = {
        "command": shlex.join(["python", "benchmarks/short_horizon.py", *sys.argv[1:]]),
        "torch": torch.__version__,
        "seeds": [*seeds],
        "settings": settings,
    }
    started = time.process_time()
    for (problem, optimizer), factor in [(key, 1) for key in LEARNING_RATE] + [
        (("shared", "sgd"), HIGH),
        (("heads", "sgd"), HIGH),
    ]:
        name = f"{problem}, {optimizer}" + (f", {factor} × lr" if factor > 1 else "")
        data = [draw(problem, seed) for seed in seeds]
        lr = factor * LEARNING_RATE[problem, optimizer]
        setting = Setting(problem, optimizer, data, [*seeds], lr, 3 if options.quick else EPOCHS)

        def note(found: dict[str, Any], name: str = name) -> None:
            settings[name] = found
            report["cpu_seconds"] = round(time.process_time() - started)
            if options.out:
                write(options.out, report)

        compare(setting, {k: v for k, v in methods.items() if factor == 1 or k in STRESSED}, note)
    print(table(settings))
    print(json.dumps({"benchmark": "short_horizon", **report}, ensure_ascii=False))


def write(path: Path, report: dict[str, Any]) -> None:
    """One line per row."""
    text = json.dumps({"benchmark": "short_horizon", **report}, indent=1, ensure_ascii=False)
    path.write_text(re.sub(r"\{[^{}]*\}", lambda row: re.sub(r"\s+", " ", row[0]), text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
