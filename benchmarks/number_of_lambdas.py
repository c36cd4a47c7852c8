"""From how many λ on do gradients pay? Test error at equal cost for 1 to 10,000 λ, learned and searched.

A training set has a few trusted examples, and many doubtful ones of which 40 % have wrong labels. λ in [0, 1] weighs
the doubtful ones, trusted examples have weight 1: L_train = (Σ_trusted l + Σ_i λ_group(i) l_i) / (trusted +
Σ_i λ_group(i)). The data and the model are the same for every number of λ, and only the groups are finer: one λ for
all, for three kinds of source, for each of ten sources, for parts of them, in the end one for each example.

- `flipped`: linear regression, 100 features, 100 trusted and 10,000 doubtful examples. Of the sources, 60 % of the
  examples have right labels and 40 % labels with the wrong sign, noise variance 1 in both. **The best λ are known**: 1
  for right signs, 0 for wrong ones, from 3 λ on. Test error is the expected squared error of a new label, exact.
- `digits`: scikit-learn's 8 × 8 digits, one hidden layer of 32 tanh units, 20 trusted and 1,000 doubtful examples from
  ten sources. Six sources have 10 % wrong labels, four have 85 %. A λ for each example can say more than one for each
  source. Test error is the share of about 680 other images that is classified wrongly.

Every method starts from λ = 1 and has the same validation examples (`flipped` 200, `digits` 100), which are right:
learned λ descends on their loss in one training, searches choose the trial with the lowest one. Optuna's samplers have
their defaults, λ = 1 as their first trial, and up to 100 trainings; results for 10 and 30 are those of the same
search at that point. A search ends early when choosing points, without any training, has taken `--limit` seconds of a
processor. A grid has the most values on each axis that its trainings allow, at equal distances, and there is none with
fewer than two. Axes go from 0 to 1 in `digits`, and in `flipped` from 0.001 to 1 on a logarithmic scale: on the seeds
100 and 101 searches did better with these, and in `flipped` very much so.

Searches are charged their choosing, as measured, and for each trial what a plain training takes in a loop without any
of this project's code. Trials of `flipped` are computed from the normal equations, which give the same iterates.

Beside them: `equal` (λ = 1), `trusted` (λ = 0), `clean` (trained on the trusted and the validation examples alone),
`best` (the best λ of `flipped`; in `digits` the right labels alone), `best single` (one λ for all, the best on the test
error itself).

One job is one file in --out, and the same command goes on where it was stopped. The last line of stdout is JSON.
"""

import argparse
import json
import math
import multiprocessing
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any, cast

import optuna
import pandas as pd
import plotly.graph_objects as go
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from plotly.subplots import make_subplots
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bilevel_hpo import BilevelLearner, Box, LossWeights
from bilevel_hpo.plots import ExportError, export
from bilevel_hpo.plots._template import GREY, PALETTE, TEMPLATE
from bilevel_hpo.run_folder import read_json, write_json

COUNTS = {"flipped": (1, 3, 10, 30, 100, 1_000, 10_000), "digits": (1, 3, 10, 30, 100, 1_000)}
BUDGETS: tuple[int, ...] = (10, 30, 100)
"""Trainings of a search."""
OUTER_LR, OUTER_EVERY, WARM_UP = 0.1, 4, 0.25
"""Of learned λ, for both problems and any number of λ; chosen on the seeds 100 and 101."""
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "TPE": lambda seed: TPESampler(seed=seed),
    "GP": lambda seed: GPSampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
}

Examples = tuple[Tensor, Tensor]
"""Features `[n, D]` and labels `[n]`."""


@dataclass(frozen=True)
class Problem:
    """One draw of the data, and how a model is trained on it."""

    trusted: Examples
    doubtful: Examples
    validation: Examples
    right: Tensor
    """Which of the doubtful labels are right, `[N]`."""
    best: Tensor
    """The best weight of each doubtful example, `[N]`; of `digits`, the right labels."""
    model: Callable[[], nn.Module]
    """The same start each time."""
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    steps: int
    axis: FloatDistribution
    """Where searches look for each λ."""
    losses: Callable[[Tensor, Tensor], Tensor]
    """(predictions, labels) ↦ a loss for each example, `[n]`."""
    test: Callable[[nn.Module], float]

    def train_loss(self, model: nn.Module, weights: Tensor) -> Tensor:
        """The weighted mean, for weights of the doubtful examples `[N]`."""
        trusted, doubtful = (self.losses(model(x), y) for x, y in (self.trusted, self.doubtful))
        return (trusted.sum() + (weights * doubtful).sum()) / (len(trusted) + weights.sum())

    def val_loss(self, model: nn.Module) -> Tensor:
        """Mean over the validation examples."""
        x, y = self.validation
        return self.losses(model(x), y).mean()


def flipped(seed: int, features: int = 100, doubtful: int = 10_000) -> Problem:
    """Regression with labels of the wrong sign; test error 1 + ‖w − w*‖²."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randn(features, generator=generator)
    true *= 2 / true.norm()
    sign = torch.ones(doubtful)
    sign[6 * doubtful // 10 :] = -1

    def rows(n: int, sign: Tensor | float = 1.0) -> Examples:
        x = torch.randn(n, features, generator=generator)
        return x, sign * (x @ true) + torch.randn(n, generator=generator)

    def model() -> nn.Module:
        made = nn.Linear(features, 1, bias=False)
        nn.init.zeros_(made.weight)
        return made

    return Problem(
        trusted=rows(100),
        doubtful=rows(doubtful, sign),
        validation=rows(200),
        right=sign > 0,
        best=(sign > 0).float(),
        model=model,
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        steps=100,
        axis=FloatDistribution(1e-3, 1, log=True),
        losses=lambda prediction, y: (prediction.squeeze(1) - y) ** 2,
        test=lambda model: 1 + float(((next(model.parameters()).detach()[0] - true) ** 2).sum()),
    )


def digits(seed: int) -> Problem:
    """Classification with wrong labels; test error is the share of wrong answers."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.as_tensor(each) for each in load_digits(return_X_y=True))
    x, order = x.float() / 16, torch.randperm(len(y), generator=generator)
    noisy, trusted, validation, test = order[:1000], order[1000:1020], order[1020:1120], order[1120:]
    wrong_share = torch.tensor([0.1] * 6 + [0.85] * 4).repeat_interleave(100)
    wrong = torch.rand(1000, generator=generator) < wrong_share
    other = (y[noisy] + torch.randint(1, 10, (1000,), generator=generator)) % 10

    def model() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))

    @torch.no_grad()
    def error(model: nn.Module) -> float:
        return float((model(x[test]).argmax(1) != y[test]).float().mean())

    return Problem(
        trusted=(x[trusted], y[trusted]),
        doubtful=(x[noisy], torch.where(wrong, other, y[noisy])),
        validation=(x[validation], y[validation]),
        right=~wrong,
        best=(~wrong).float(),
        model=model,
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=0.005),
        steps=100,
        axis=FloatDistribution(0, 1),
        losses=lambda prediction, y: cross_entropy(prediction, y, reduction="none"),
        test=error,
    )


PROBLEMS: dict[str, Callable[[int], Problem]] = {"flipped": flipped, "digits": digits}


def groups(count: int, examples: int) -> Tensor:
    """The λ of each doubtful example, `[N]`: of all, of three kinds of source, of ten sources, or of parts of these."""
    if count == 3:
        return torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 2]).repeat_interleave(examples // 10)
    return torch.arange(examples) * count // examples


@dataclass(frozen=True)
class Scores:
    """Of one training."""

    val: float
    test: float


def plain(problem: Problem, weights: Tensor) -> Scores:
    """A training with constant weights of the doubtful examples `[N]`."""
    model = problem.model()
    if isinstance(model, nn.Linear):
        _by_normal_equations(problem, weights, model)
    else:
        _loop(problem, weights, model, problem.optimizer(model))
    return Scores(float(problem.val_loss(model).detach()), problem.test(model))


def _loop(problem: Problem, weights: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(problem.steps):
        optimizer.zero_grad()
        problem.train_loss(model, weights).backward()
        optimizer.step()


@torch.no_grad()
def _by_normal_equations(problem: Problem, weights: Tensor, model: nn.Linear) -> None:
    """The iterates of `_loop` for squared errors, from XᵀΛX and XᵀΛy; momentum as SGD has it."""
    (x, y), (doubtful_x, doubtful_y) = problem.trusted, problem.doubtful
    weighted, total = doubtful_x * weights[:, None], len(y) + weights.sum()
    square = (x.T @ x + weighted.T @ doubtful_x) / total
    moment = (x.T @ y + weighted.T @ doubtful_y) / total
    (group,) = problem.optimizer(model).param_groups
    w, momentum = model.weight[0], torch.zeros(len(moment))
    for _ in range(problem.steps):
        momentum = group["momentum"] * momentum + 2 * (square @ w - moment)
        w -= group["lr"] * momentum


def plain_seconds(problem: Problem) -> float:
    """Processor seconds of a plain training by autograd; the least of three."""
    taken = []
    for _ in range(3):
        model = problem.model()
        optimizer, began = problem.optimizer(model), time.process_time()
        _loop(problem, torch.ones(len(problem.right)), model, optimizer)
        taken.append(time.process_time() - began)
    return min(taken)


def learned(problem: Problem, count: int) -> dict[str, Any]:
    """λ learned in one training: its scores, seconds of a processor, and mean λ of right and of wrong labels.

    Seconds are the least of three trainings, which are equal, as those of plain trainings are.
    """
    group, taken = groups(count, len(problem.right)), list[float]()
    for _ in range(3):
        began = time.process_time()
        learner = _learner(problem, count, group)
        warm_up = round(WARM_UP * problem.steps)
        learner.fit([None] * problem.steps, [None], 1, outer_every=OUTER_EVERY, warm_up=warm_up, progress=False)
        taken.append(time.process_time() - began)
    model, found = learner.model, cast(LossWeights, learner.weights)().detach()[group]
    return {
        "val": float(problem.val_loss(model).detach()),
        "test": problem.test(model),
        "seconds": min(taken),
        "right": float(found[problem.right].mean()),
        "wrong": float(found[~problem.right].mean()),
    }


def _learner(problem: Problem, count: int, group: Tensor) -> BilevelLearner:
    weights = LossWeights([str(number) for number in range(count)], init=1.0, constraint=Box(0, 1))
    model = problem.model()
    return BilevelLearner(
        model,
        problem.optimizer(model),
        weights,
        train_loss=lambda model, lambda_, batch: problem.train_loss(model, lambda_[group]),
        val_loss=lambda model, lambda_, batch: problem.val_loss(model),
        outer_optimizer=torch.optim.Adam(weights.parameters(), lr=OUTER_LR),
    )


def searched(problem: Problem, count: int, sampler: BaseSampler, trials: int, limit: float) -> dict[str, Any]:
    """Trials in order: "val", "test", and "choosing", the processor seconds of choosing so far."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    group, study = groups(count, len(problem.right)), optuna.create_study(sampler=sampler)
    axes: dict[str, BaseDistribution] = {str(number): problem.axis for number in range(count)}
    study.enqueue_trial(dict.fromkeys(axes, 1.0))
    choosing, rows = 0.0, list[dict[str, float]]()
    while len(rows) < trials and (not rows or choosing < limit):
        began = time.process_time()
        trial = study.ask(axes)
        lambda_ = torch.tensor(list(trial.params.values()))
        choosing += time.process_time() - began
        scores = plain(problem, lambda_[group])
        began = time.process_time()
        study.tell(trial, scores.val)
        choosing += time.process_time() - began
        rows.append({"val": scores.val, "test": scores.test, "choosing": choosing})
    return {"trials": rows}


def values_per_axis(count: int, trainings: int) -> int:
    """Of the finest full grid with at most `trainings` points; below 2 there is no grid."""
    values = 1
    while (values + 1) ** count <= trainings:
        values += 1
    return values


def gridded(problem: Problem, count: int, trainings: int) -> dict[str, Any]:
    """The grid, in any order; λ = 1 is one of its points."""
    low, high, values = problem.axis.low, problem.axis.high, values_per_axis(count, trainings)
    between = torch.linspace(math.log(low), 0, values).exp() if problem.axis.log else torch.linspace(low, high, values)
    axis = [*between[:-1].tolist(), high]
    group, rows = groups(count, len(problem.right)), []
    for point in product(axis, repeat=count):
        scores = plain(problem, torch.tensor(point)[group])
        rows.append({"val": scores.val, "test": scores.test, "choosing": 0.0})
    return {"trials": rows}


def references(name: str, problem: Problem) -> dict[str, float]:
    """Test errors that no method has to search for, and the seconds of a plain training."""
    ones = torch.ones(len(problem.right))
    x, y = (torch.cat(both) for both in zip(problem.trusted, problem.validation, strict=True))
    clean = replace(problem, trusted=(x, y))
    found = {
        "equal": plain(problem, ones).test,
        "trusted": plain(problem, 0 * ones).test,
        "clean": plain(clean, 0 * ones).test,
        "best": plain(problem, problem.best).test,
    }
    if name == "flipped":
        single = [0.0, *torch.logspace(-4, 0, 41).tolist()]
        found["best single"] = min(plain(problem, value * ones).test for value in single)
    return found | {"seconds": plain_seconds(problem)}


@dataclass(frozen=True)
class Job:
    """What one file of the folder holds."""

    name: str
    method: str
    count: int
    """Of λ."""
    seed: int
    budget: int
    """Most trainings."""
    limit: float

    @property
    def file(self) -> str:
        """Its name."""
        return f"{self.name}-{self.method}-{self.count}-{self.budget}-{self.seed}.json"


def jobs(seeds: Sequence[int], limit: float, counts: dict[str, tuple[int, ...]], budgets: Sequence[int]) -> list[Job]:
    """All of them, seed by seed."""

    def of(seed: int) -> Iterator[Job]:
        for name, numbers in counts.items():
            yield Job(name, "references", 0, seed, 0, limit)
            for count in numbers:
                yield Job(name, "learned", count, seed, 1, limit)
                yield from (
                    Job(name, "grid", count, seed, budget, limit)
                    for budget in budgets
                    if values_per_axis(count, budget) > 1
                )
                yield from (Job(name, method, count, seed, max(budgets), limit) for method in SAMPLERS)

    return [job for seed in seeds for job in of(seed)]


def run(job: Job, folder: Path) -> str:
    """Do it, unless its file is there."""
    torch.set_num_threads(1)
    problem, file = PROBLEMS[job.name](job.seed), folder / job.file
    if not file.exists():
        if job.method == "references":
            found: dict[str, Any] = references(job.name, problem)
        elif job.method == "learned":
            found = learned(problem, job.count)
        elif job.method == "grid":
            found = gridded(problem, job.count, job.budget)
        else:
            found = searched(problem, job.count, SAMPLERS[job.method](job.seed), job.budget, job.limit)
        write_json(file, found)
    return job.file


def winner(trials: Sequence[dict[str, float]], budget: int) -> dict[str, float]:
    """The trial with the lowest validation loss among the first `budget`."""
    return min(trials[:budget], key=lambda trial: trial["val"])


def row(job: Job, budget: int, found: Sequence[dict[str, Any]], plain: Sequence[float]) -> dict[str, Any]:
    """Means over seeds. A budget that some seed did not reach counts with the trials that there are.

    Args:
        job: of any seed.
        budget: trainings.
        found: contents of the files of all seeds.
        plain: seconds of a plain training, of all seeds.
    """
    if job.method == "learned":
        test, seconds = [each["test"] for each in found], [each["seconds"] for each in found]
        reached = [1] * len(found)
    else:
        reached = [min(budget, len(each["trials"])) for each in found]
        test = [winner(each["trials"], budget)["test"] for each in found]
        seconds = [
            each["trials"][n - 1]["choosing"] + n * once for each, n, once in zip(found, reached, plain, strict=True)
        ]
    return {
        "problem": job.name,
        "lambdas": job.count,
        "method": job.method,
        "budget": budget,
        "trainings": mean(reached),
        "test": mean(test),
        "half_interval": half_interval(test),
        "by_seed": test,
        "seconds": mean(seconds),
        **({key: mean(each[key] for each in found) for key in ("right", "wrong")} if job.method == "learned" else {}),
    }


def held_against_learned(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with "excess": test error above that of learned λ on the same seeds and λ, mean and half of its interval."""
    of = {(each["problem"], each["lambdas"]): each["by_seed"] for each in rows if each["method"] == "learned"}
    found = []
    for each in rows:
        excess = [own - its for own, its in zip(each["by_seed"], of[each["problem"], each["lambdas"]], strict=True)]
        found.append(each | {"excess": [mean(excess), half_interval(excess)]})
    return found


def half_interval(numbers: Sequence[float]) -> float:
    """Of the 95 % t-interval of the mean."""
    if len(numbers) < 2:
        return math.nan
    t = torch.tensor([12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26])
    return float(t[min(len(numbers) - 2, 8)]) * stdev(numbers) / math.sqrt(len(numbers))


def collect(todo: Sequence[Job], folder: Path, budgets: Sequence[int]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of the table, and the references of each problem."""
    names = dict.fromkeys(job.name for job in todo)
    of: dict[tuple[str, str, int, int], list[Job]] = {}
    for job in todo:
        of.setdefault((job.name, job.method, job.count, job.budget), []).append(job)
    read = {key: [read_json(folder / job.file) for job in same] for key, same in of.items()}
    lines = {name: read[name, "references", 0, 0] for name in names}
    rows = []
    for (name, method, _, budget), same in of.items():
        if method != "references":
            once = [line["seconds"] for line in lines[name]]
            steps = [budget] if method in ("learned", "grid") else budgets
            rows += [row(same[0], step, read[name, method, same[0].count, budget], once) for step in steps]
    means = {name: {key: mean(line[key] for line in found) for key in found[0]} for name, found in lines.items()}
    return held_against_learned(rows), means


METHODS = {"learned": 0, "TPE": 1, "GP": 2, "random": 3, "grid": 4}
"""Their colours."""
TITLES = {"flipped": "regression, 40 % of the signs wrong", "digits": "digits, 40 % of the labels wrong"}
LINES = {"equal": "all λ = 1", "clean": "clean examples alone", "best": "best λ"}


def figure(rows: Sequence[dict[str, Any]], lines: dict[str, Any], budgets: Sequence[int]) -> go.Figure:
    """Test error (above) and seconds (below) by the number of λ, a column for each problem."""
    made = make_subplots(2, len(lines), shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.66, 0.34])
    most, least = max(budgets), min(budgets)
    curves = [("learned", 1), *((method, most) for method in METHODS if method != "learned"), ("TPE", least)]
    for column, name in enumerate(lines, 1):
        own = [each for each in rows if each["problem"] == name]
        counts = sorted({each["lambdas"] for each in own})
        for method, budget in curves:
            shown = [each for each in own if (each["method"], each["budget"]) == (method, budget)]
            if shown:
                style = _style(method, budget, shown, thin=budget == least) | {"showlegend": column == 1}
                bars = {"type": "data", "array": [each["half_interval"] for each in shown], "thickness": 1, "width": 3}
                above = {"y": [each["test"] for each in shown]} | ({} if budget == least else {"error_y": bars})
                made.add_scatter(row=1, col=column, **style, **above)
                below = style | {"y": [each["seconds"] for each in shown], "showlegend": False}
                made.add_scatter(row=2, col=column, **below)
        for key, text in LINES.items():
            made.add_scatter(
                x=[counts[0], counts[-1]],
                y=[lines[name][key]] * 2,
                mode="lines+text",
                text=["", text],
                textposition="top left",
                textfont={"size": 11},
                line={"color": GREY, "dash": "dash", "width": 1.2},
                showlegend=False,
                row=1,
                col=column,
            )
        if "best single" in lines[name]:
            made.add_scatter(
                x=[1],
                y=[lines[name]["best single"]],
                mode="markers",
                marker={"symbol": "x-thin-open", "size": 11, "color": GREY},
                name="best one λ",
                row=1,
                col=column,
            )
        drawn = [each["test"] for each in own] + [lines[name][key] for key in LINES]
        low, high = math.log10(min(drawn)), math.log10(max(drawn))
        made.update_yaxes(type="log", range=[low - 0.05, high + 0.08], nticks=8, row=1, col=column)
        made.update_yaxes(type="log", dtick=1, row=2, col=column)
        made.update_xaxes(type="log", dtick=1, row=1, col=column, title=TITLES[name], side="top")
        made.update_xaxes(type="log", dtick=1, row=2, col=column, title="number of λ")
    made.update_yaxes(title="test error", row=1, col=1)
    made.update_yaxes(title="processor seconds", row=2, col=1)
    return made.update_layout(template=TEMPLATE, width=1100, height=760, legend={"y": 1.1}, margin={"t": 110})


def _style(method: str, budget: int, shown: Sequence[dict[str, Any]], *, thin: bool) -> dict[str, Any]:
    label = "learned, 1 training" if method == "learned" else f"{method}, {budget} trainings"
    return {
        "x": [each["lambdas"] for each in shown],
        "name": label,
        "mode": "lines+markers",
        "line": {
            "color": PALETTE[METHODS[method]],
            "width": 3.5 if method == "learned" else 1.8,
            "dash": "dot" if thin else "solid",
        },
        # Open: stopped before its last training.
        "marker": {
            "size": 5 if thin else 8,
            "symbol": [
                "circle" if method == "grid" or each["trainings"] == budget else "circle-open" for each in shown
            ],
        },
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/number_of_lambdas"), help="folder of the results")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=20.0, help="processor seconds of choosing that end a search")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--png", type=Path, help="the picture, with kaleido and Chromium")
    parser.add_argument("--quick", action="store_true", help="1, 10 and 100 λ, up to 12 trainings, two seeds")
    args = parser.parse_args()
    counts, budgets, seeds = COUNTS, BUDGETS, range(args.seeds)
    if args.quick:
        counts, budgets, seeds = dict.fromkeys(COUNTS, (1, 10, 100)), (4, 12), range(2)
    todo = jobs(seeds, args.limit, counts, budgets)
    args.out.mkdir(parents=True, exist_ok=True)
    open_jobs = [job for job in todo if not (args.out / job.file).exists()]
    with ProcessPoolExecutor(args.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(run, job, args.out) for job in open_jobs]), 1):
            print(f"{done}/{len(open_jobs)} {future.result()}", file=sys.stderr, flush=True)
    rows, lines = collect(todo, args.out, budgets)
    print("λ, method, most trainings, test error, the same above learned λ (paired, 95 %), cost")
    for name, found in lines.items():
        print(name, {key: round(value, 4) for key, value in found.items()})
        for each in (one for one in rows if one["problem"] == name):
            excess, half = each["excess"]
            print(f"{each['lambdas']:>6} {each['method']:8} {each['budget']:>4}", end="")
            print(f" {each['test']:8.4f} ± {each['half_interval']:.4f} {excess:+8.4f} ± {half:.4f}", end="")
            print(f" {each['trainings']:6.1f} trainings {each['seconds']:8.2f} s")
    if args.png:
        try:
            made = export(figure(rows, lines, budgets), pd.DataFrame(rows), args.png.with_suffix(""), formats=("png",))
            print(made[0])
        except ExportError as error:
            print(error)
    command = shlex.join(["python", "benchmarks/number_of_lambdas.py", *sys.argv[1:]])
    facts = {"benchmark": "number_of_lambdas", "command": command, "seeds": len(seeds), "limit": args.limit}
    print(json.dumps(_rounded(facts | {"references": lines, "rows": rows}), ensure_ascii=False))


def _rounded(x: Any) -> Any:
    """Numbers to four digits."""
    if isinstance(x, dict):
        return {key: _rounded(value) for key, value in x.items()}
    if isinstance(x, list):
        return [_rounded(value) for value in x]
    return float(f"{x:.4g}") if isinstance(x, float) else x


if __name__ == "__main__":
    main()
