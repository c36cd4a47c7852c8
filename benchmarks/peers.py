"""How do our one-step hypergradients compare with those of torchopt, betty-ml and higher, in numbers, time and memory?

One unit of work is the same for all: one hypergradient, one Adam step on λ, one inner step on θ (SGD or Adam). The
task is an MLP with L_train = Σ λ_i · loss_i over 30 groups of the batch, and as L_val the mean squared error on another
batch. Every package is used in the cheapest way that it offers: where the hypergradient is that of a step which the
package took itself, that step is the inner step. Each variant runs in processes of its own.

1. Numbers. After 10 inner steps at fixed λ, the next unit's hypergradient and the θ that it leaves are compared with
   central finite differences of real `torch.optim` training in float64 and with that training's θ. A variant is exact
   with |1 − cosine| within 1e-6 in float64 and 1e-4 in float32, and the error relative to ‖g‖ within 1e-5 in float64.
2. Time on an MLP 64-128-128-1, batch 256: medians in units of the plain training step, timed in turn with it in the
   same process; the variants take turns for several rounds.
3. The same for an MLP with 20 million parameters, batch 64, and its peak memory: the largest resident set of a process
   that does only these units, less the resident set when they began (Linux). A plain training step, likewise.

The first input feature is 0 in every batch, as a rare bit of a fingerprint is: its weights have gradient 0, at which
Adam as written in torch.optim has no derivative (√0). Wall times suffer from other processes; the processor times
beside them, of all threads, are steadier on a busy machine. The last line is JSON.

Peers that are not installed, or do not run, are named and left out. betty-ml 0.1.1 installs with pip < 24.1 only (its
metadata are invalid), 0.2 declares Python < 3.11; so it is in no extra of ours:

    pip install -e ".[peers]"
    pip install --no-deps betty-ml==0.1.1
    python benchmarks/peers.py
"""

import argparse
import gc
import importlib
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Batch = tuple[Tensor, Tensor, Tensor]
"""Features `[B, F]`, targets `[B]`, and the 30 rows `[30, B]` that average over the groups."""

LOSSES = 30
LOW, HIGH = 0.0, 10.0
LEARNING_RATE = {"sgd": 0.05, "adam": 1e-3}
WARM_UP = 10


@dataclass(frozen=True)
class Size:
    widths: tuple[int, ...]
    batch: int
    share: float
    """Of --repeats, in each process."""


SIZES = {"toy": Size((64, 128, 128, 1), 256, 1.0), "large": Size((1024, 2920, 2920, 2920, 1), 64, 1 / 40)}


class Task:
    """The model, its inner optimizer's settings, λ and the batches; alike in every process."""

    def __init__(self, size: str, optimizer: str, outer_lr: float) -> None:
        torch.manual_seed(0)
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # the same numbers in float32, rounded
        widths, batch = SIZES[size].widths, SIZES[size].batch
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1]).to(dtype)
        self.optimizer_name, self.outer_lr = optimizer, outer_lr
        self.lr = LEARNING_RATE[optimizer]
        rule = torch.rand(widths[0]) - 0.5
        self.train, self.val = ([_batch(batch, widths[0], rule, dtype) for _ in range(4)] for _ in range(2))
        torch.set_default_dtype(dtype)

    def inner_optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[self.optimizer_name]
        return kind(parameters, lr=self.lr)

    def outer_optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.outer_lr)

    def batches(self) -> Iterator[tuple[Batch, Batch]]:
        return cycle(zip(self.train, self.val, strict=True))


def _batch(n: int, features: int, rule: Tensor, dtype: torch.dtype) -> Batch:
    x = torch.randn(n, features)
    x[:, 0] = 0.0
    group = torch.arange(n) % LOSSES
    member = (group == torch.arange(LOSSES)[:, None]).to(x.dtype)
    noise = torch.randn(n) * (1 + group) / LOSSES  # the losses differ in worth
    y, means = (x @ rule).sin() + noise, member / member.sum(1, keepdim=True)
    return x.to(dtype), y.to(dtype), means.to(dtype)


def train_loss(model: Any, lambda_: Tensor, batch: Batch) -> Tensor:
    x, y, groups = batch
    return lambda_ @ (groups @ (model(x).squeeze(-1) - y).square())


def val_loss(model: Any, lambda_: Tensor, batch: Batch) -> Tensor:
    x, y, _ = batch
    return (model(x).squeeze(-1) - y).square().mean()


def start() -> Tensor:
    return torch.linspace(0.5, 1.5, LOSSES) / LOSSES


class Variant:
    """One way to do a unit of work."""

    def __init__(self, task: Task) -> None:
        self.task, self.model = task, task.model
        self.lambda_ = start().requires_grad_()
        self.outer = task.outer_optimizer([self.lambda_])

    def unit(self, train: Batch, val: Batch) -> Tensor | None:
        """One hypergradient, one step on λ, one on θ; the hypergradient."""
        raise NotImplementedError

    def theta(self) -> list[Tensor]:
        """θ."""
        return list(self.model.parameters())

    def outer_step(self, g: Tensor) -> Tensor:
        self.lambda_.grad = g
        self.outer.step()
        with torch.no_grad():
            self.lambda_.clamp_(LOW, HIGH)
        return g


class Plain(Variant):
    """The plain training step: no hypergradient."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.inner = task.inner_optimizer(self.model.parameters())

    def unit(self, train: Batch, val: Batch) -> Tensor | None:
        self.inner.zero_grad()
        train_loss(self.model, self.lambda_.detach(), train).backward()
        self.inner.step()
        return None


class Ours(Variant):
    """`BilevelLearner.step` with one of our estimators."""

    def __init__(self, task: Task, estimator: str, **options: Any) -> None:
        self.task, self.model = task, task.model
        library = importlib.import_module("bilevel_hpo")
        weights = library.LossWeights([str(i) for i in range(LOSSES)], start(), library.Box(LOW, HIGH))
        self.learner = library.BilevelLearner(
            self.model,
            task.inner_optimizer(self.model.parameters()),
            weights,
            train_loss=train_loss,
            val_loss=val_loss,
            hypergradient=getattr(library, estimator)(**options),
            outer_optimizer=task.outer_optimizer(weights.parameters()),
        )

    def unit(self, train: Batch, val: Batch) -> Tensor | None:
        self.learner.step(train, val)
        return None  # it stands in the learner's history, which is a table: slow to read in every unit

    def last(self) -> Tensor:
        row = self.learner.history.iloc[-1]
        return torch.tensor([row[f"g:{i}"] for i in range(LOSSES)])


class TorchOpt(Variant):
    """`torchopt.MetaSGD` and `MetaAdam`: the step on θ stays in the graph until `stop_gradient`."""

    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(task)
        self.torchopt = importlib.import_module("torchopt")
        kind = {"sgd": "MetaSGD", "adam": "MetaAdam"}[task.optimizer_name]
        self.inner = getattr(self.torchopt, kind)(self.model, lr=task.lr, **options)

    def unit(self, train: Batch, val: Batch) -> Tensor | None:
        self.inner.step(train_loss(self.model, self.lambda_, train))
        (g,) = torch.autograd.grad(val_loss(self.model, self.lambda_, val), self.lambda_)
        self.torchopt.stop_gradient(self.model)
        self.torchopt.stop_gradient(self.inner)
        return self.outer_step(g)


class Higher(Variant):
    """`higher.innerloop_ctx`; the step that it unrolled is copied back into the model and the optimizer."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.higher = importlib.import_module("higher")
        self.inner = task.inner_optimizer(self.model.parameters())

    def unit(self, train: Batch, val: Batch) -> Tensor | None:
        with self.higher.innerloop_ctx(self.model, self.inner) as (model, inner):
            inner.step(train_loss(model, self.lambda_, train))
            (g,) = torch.autograd.grad(val_loss(model, self.lambda_, val), self.lambda_)
            with torch.no_grad():
                for p, moved in zip(self.model.parameters(), model.parameters(), strict=True):
                    p.copy_(moved)
            for group, states in zip(self.inner.param_groups, inner.state, strict=True):
                for number, state in states.items():
                    kept = {k: v.detach() if isinstance(v, Tensor) else v for k, v in state.items()}
                    self.inner.state[group["params"][number]] = kept
        return self.outer_step(g)


class ByHand(Variant):
    """Reverse mode through one step of SGD in plain PyTorch, as one would write it without any package."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.named = dict(self.model.named_parameters())

    def unit(self, train: Batch, val: Batch) -> Tensor | None:
        loss = train_loss(self.model, self.lambda_, train)
        gradients = torch.autograd.grad(loss, list(self.named.values()), create_graph=True)
        moved = {n: p - self.task.lr * g for (n, p), g in zip(self.named.items(), gradients, strict=True)}
        after = val_loss(lambda x: functional_call(self.model, moved, (x,)), self.lambda_, val)
        (g,) = torch.autograd.grad(after, self.lambda_)
        with torch.no_grad():
            for name, p in self.named.items():
                p.copy_(moved[name])
        return self.outer_step(g)


class _Weights(nn.Module):
    """λ as the module that betty-ml wants."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(start())

    def forward(self) -> Tensor:
        return self.value


class Betty(Variant):
    """betty-ml: `IterativeProblem` (exact, by reverse mode) or `ImplicitProblem` with "darts" (differences).

    Without the two lines marked, `IterativeProblem` keeps the graphs of all steps since the first.
    """

    def __init__(self, task: Task, iterative: bool) -> None:
        self.task, self.model = task, task.model
        problems, configs, engine = (importlib.import_module(f"betty.{m}") for m in ("problems", "configs", "engine"))
        variant, self.g = self, torch.empty(0)

        class Outer(problems.ImplicitProblem):  # type: ignore[name-defined]
            def get_batch(self) -> Batch:
                return variant.now[1]

            def training_step(self, batch: Batch) -> Tensor:
                return val_loss(self.inner, self.module.value, batch)

            def param_callback(self, *_: object) -> None:
                variant.g = self.module.value.grad.detach().clone()
                self.module.value.data.clamp_(LOW, HIGH)

        class Inner(problems.IterativeProblem if iterative else problems.ImplicitProblem):
            def forward(self, x: Tensor) -> Tensor:
                return self.fmodule(self.params, self.buffers, x) if iterative else self.module(x)

            def get_batch(self) -> Batch:
                return variant.now[0]

            def training_step(self, batch: Batch) -> Tensor:
                return train_loss(self, self.outer(), batch)

            def on_inner_loop_start(self) -> None:
                if iterative:
                    self.params = variant.leaves = tuple(p.detach().requires_grad_() for p in self.params)  # mark 1
                    for state in self.optimizer.state:
                        state.update({k: v.detach() for k, v in state.items() if isinstance(v, Tensor)})

        weights = _Weights()
        outer_options = {"type": "darts", "first_order": not iterative, "retain_graph": not iterative}
        outer = Outer("outer", configs.Config(**outer_options), weights, task.outer_optimizer(weights.parameters()))
        inner_optimizer = task.inner_optimizer(self.model.parameters())
        self.inner = Inner("inner", configs.Config(type="darts", unroll_steps=1), self.model, inner_optimizer)
        self.now = (task.train[0], task.val[0])
        self.engine = engine.Engine(
            problems=[outer, self.inner],
            config=configs.EngineConfig(),
            dependencies={"u2l": {outer: [self.inner]}, "l2u": {self.inner: [outer]}},
        )
        self.engine.train()
        self.leaves: tuple[Tensor, ...] = ()

    def unit(self, train: Batch, val: Batch) -> Tensor | None:
        self.now = (train, val)
        self.engine.train_step()
        for p in self.leaves:
            p.grad = None  # mark 2: a gradient with a graph and its parameter hold each other
        return self.g

    def theta(self) -> list[Tensor]:
        return list(self.inner.trainable_parameters())


@dataclass(frozen=True)
class Entry:
    make: Callable[[Task], Variant]
    kind: str
    """ours, peer, or by hand."""
    package: str | None = None
    """Distribution that must be installed."""
    approximate: bool = False
    """By its own account."""
    optimizers: tuple[str, ...] = ("sgd", "adam")


ENTRIES = {
    "OneStep": Entry(lambda task: Ours(task, "OneStep"), "ours"),
    "OneStep unchecked": Entry(lambda task: Ours(task, "OneStep", tolerance=None), "ours"),
    "FiniteDifference unchecked": Entry(
        lambda task: Ours(task, "FiniteDifference", tolerance=None), "ours", approximate=True
    ),
    "Unrolled": Entry(lambda task: Ours(task, "Unrolled", steps=1), "ours"),
    "torchopt": Entry(TorchOpt, "peer", "torchopt"),
    "torchopt eps_root=1e-16": Entry(lambda t: TorchOpt(t, eps_root=1e-16), "peer", "torchopt", optimizers=("adam",)),
    "torchopt accelerated": Entry(
        lambda task: TorchOpt(task, eps_root=1e-16, use_accelerated_op=True), "peer", "torchopt", optimizers=("adam",)
    ),
    "higher": Entry(Higher, "peer", "higher"),
    "betty iterative": Entry(lambda task: Betty(task, iterative=True), "peer", "betty-ml"),
    "betty darts": Entry(lambda task: Betty(task, iterative=False), "peer", "betty-ml", approximate=True),
    "reverse mode by hand": Entry(ByHand, "by hand", optimizers=("sgd",)),
}
PLAIN = "plain step"


# In the processes of the variants


def resident() -> float:
    """The resident set now, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak() -> float:
    """The largest resident set of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def make(name: str, task: Task) -> Variant:
    return Plain(task) if name == PLAIN else ENTRIES[name].make(task)


def numbers(name: str, size: str, optimizer: str) -> dict[str, Any]:
    """In float64 and float32: the hypergradient after `WARM_UP` steps at fixed λ, and θ after it."""
    found = {}
    for bits, dtype in (("64", torch.float64), ("32", torch.float32)):
        torch.set_default_dtype(dtype)
        found |= {f"{key}_{bits}": value for key, value in _numbers(name, size, optimizer).items()}
    return found


def _numbers(name: str, size: str, optimizer: str) -> dict[str, Any]:
    task = Task(size, optimizer, outer_lr=0.0)
    variant, batches = make(name, task), task.batches()
    for _ in range(WARM_UP + 1):
        g = variant.unit(*next(batches))
    if isinstance(variant, Ours):
        g = variant.last()
    theta = torch.cat([p.detach().flatten() for p in variant.theta()])
    return {"g": None if g is None else g.tolist(), "theta": theta.tolist()}


def reference(size: str, optimizer: str) -> dict[str, Any]:
    """The same from real training in float64: central differences in every λ."""
    torch.set_default_dtype(torch.float64)
    step = 3e-6
    task = Task(size, optimizer, outer_lr=0.0)
    inner, batches = task.inner_optimizer(task.model.parameters()), task.batches()

    def train(lambda_: Tensor, batch: Batch) -> None:
        inner.zero_grad()
        train_loss(task.model, lambda_, batch).backward()
        inner.step()

    for _ in range(WARM_UP):
        train(start(), next(batches)[0])
    theta = [p.detach().clone() for p in task.model.parameters()]
    state = {p: {k: _copied(v) for k, v in inner.state[p].items()} for p in task.model.parameters()}
    batch, val = next(batches)

    def after(lambda_: Tensor) -> float:
        with torch.no_grad():
            for p, before in zip(task.model.parameters(), theta, strict=True):
                p.copy_(before)
                inner.state[p] = {k: _copied(v) for k, v in state[p].items()}
        train(lambda_, batch)
        return val_loss(task.model, lambda_, val).item()

    shifts = step * torch.eye(LOSSES)
    g = [(after(start() + shift) - after(start() - shift)) / (2 * step) for shift in shifts]
    after(start())
    return {"g": g, "theta": torch.cat([p.detach().flatten() for p in task.model.parameters()]).tolist()}


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def timed(name: str, size: str, optimizer: str, repeats: int) -> dict[str, Any]:
    """Medians of the variant's unit and of the plain step, in turn."""
    tasks = [Task(size, optimizer, outer_lr=1e-3) for _ in range(2)]
    variants, batches = (make(name, tasks[0]), Plain(tasks[1])), tasks[0].batches()
    wall: tuple[list[float], list[float]] = [], []
    processor: tuple[list[float], list[float]] = [], []
    repeats = max(3, round(repeats * SIZES[size].share))
    warm_up = 2 + repeats // 4
    for number in range(warm_up + repeats):
        batch = next(batches)
        for i, variant in enumerate(variants):
            began, began_processor = time.perf_counter(), time.process_time()
            variant.unit(*batch)
            if number >= warm_up:
                wall[i].append(time.perf_counter() - began)
                processor[i].append(time.process_time() - began_processor)
    unit, plain = (statistics.median(taken) for taken in wall)
    unit_processor, plain_processor = (statistics.median(taken) for taken in processor)
    return {"seconds": unit, "ratio": unit / plain, "processor_ratio": unit_processor / plain_processor}


def memory(name: str, size: str, optimizer: str) -> dict[str, Any]:
    """Peak of a few units."""
    task = Task(size, optimizer, outer_lr=1e-3)
    variant, batches = make(name, task), task.batches()
    gc.collect()
    before, peak_before = resident(), peak()
    for _ in range(4):
        variant.unit(*next(batches))
    return {"extra_mb": peak() - before if peak() > peak_before else math.nan, "process_mb": peak()}


def child(order: dict[str, Any]) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(order["threads"])
    name, size, optimizer = order["name"], order["size"], order["optimizer"]
    if order["task"] == "reference":
        answer = reference(size, optimizer)
    elif order["task"] == "numbers":
        answer = numbers(name, size, optimizer)
    elif order["task"] == "memory":
        answer = memory(name, size, optimizer)
    else:
        answer = timed(name, size, optimizer, order["repeats"])
    print(json.dumps(answer))


# In the parent


@dataclass
class Runner:
    threads: int
    repeats: int

    def __call__(self, task: str, name: str, size: str, optimizer: str) -> dict[str, Any] | str:
        """The answer of a process of its own, or what went wrong in it."""
        order = {"task": task, "name": name, "size": size, "optimizer": optimizer}
        order |= {"threads": self.threads, "repeats": self.repeats}
        command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(order)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            said = ended.stderr.strip().splitlines()
            return said[-1] if said else f"ended with status {ended.returncode}"
        return json.loads(ended.stdout.strip().splitlines()[-1])


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def compared(run: Runner, optimizer: str, name: str, truth: dict[str, Tensor]) -> dict[str, Any] | str:
    answer = run("numbers", name, "toy", optimizer)
    if isinstance(answer, str):
        return answer
    found: dict[str, Any] = {}
    for bits in ("64", "32"):
        g, theta = (torch.tensor(answer[f"{key}_{bits}"], dtype=torch.float64) for key in ("g", "theta"))
        found[f"cosine_{bits}"] = cosine(g, truth["g"])
        found[f"error_{bits}"] = float((g - truth["g"]).norm() / truth["g"].norm())
        found[f"theta_{bits}"] = float((theta - truth["theta"]).norm() / truth["theta"].norm())
    found["exact"] = (
        not ENTRIES[name].approximate
        and abs(1 - found["cosine_64"]) <= 1e-6
        and abs(1 - found["cosine_32"]) <= 1e-4
        and found["error_64"] <= 1e-5
    )
    return found


def check(run: Runner, optimizer: str, entries: dict[str, Entry]) -> dict[str, dict[str, Any] | str]:
    """Part 1, printed; what each variant's numbers are worth, or why it does not run."""
    answer = run("reference", PLAIN, "toy", optimizer)
    if isinstance(answer, str):
        raise SystemExit(f"real training with {optimizer}: {answer}")
    truth = {key: torch.tensor(value, dtype=torch.float64) for key, value in answer.items()}
    print(f"\nNumbers, {optimizer}, against finite differences of real training (‖g‖ = {float(truth['g'].norm()):.2e})")
    print(f"{'':26}{'1 − cos f64':>13}{'f32':>10}{'error f64':>12}{'f32':>10}{'θ f64':>10}")
    results: dict[str, dict[str, Any] | str] = {}
    for name, entry in entries.items():
        results[name] = found = compared(run, optimizer, name, truth)
        if isinstance(found, str):
            print(f"{name:26}does not run: {found}")
            continue
        columns = [1 - found["cosine_64"], 1 - found["cosine_32"], found["error_64"], found["error_32"]]
        widths = (13, 10, 12, 10, 10)
        row = "".join(f"{v:{w}.0e}" for v, w in zip([*columns, found["theta_64"]], widths, strict=True))
        word = "exact" if found["exact"] else "approximate" if entry.approximate else "inexact"
        print(f"{name:26}{row}  {'not finite: √0' if math.isnan(found['cosine_64']) else word}")
    return results


def measured(run: Runner, size: str, optimizer: str, names: list[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Parts 2 and 3 for the variants that run."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            answer = run("time", name, size, optimizer)
            if isinstance(answer, dict):
                rows[name].append(answer)
            else:
                print(f"{name}: {answer}")
    results = {
        name: {
            "ratio": statistics.median(row["ratio"] for row in taken),
            "ratio_from": min(row["ratio"] for row in taken),
            "ratio_to": max(row["ratio"] for row in taken),
            "processor_ratio": statistics.median(row["processor_ratio"] for row in taken),
            "seconds": statistics.median(row["seconds"] for row in taken),
        }
        for name, taken in rows.items()
        if taken
    }
    for name in [PLAIN, *results] if size == "large" else []:
        answer = run("memory", name, size, optimizer)
        results.setdefault(name, {}).update(answer if isinstance(answer, dict) else {"error": answer})
    return results


def report(
    size: str, optimizer: str, results: dict[str, dict[str, Any]], entries: dict[str, Entry], exact: set[str]
) -> dict[str, dict[str, float]]:
    """A table, and how ours stand to the best exact peer in time and memory."""
    widths = "-".join(map(str, SIZES[size].widths))
    print(f"\nMLP {widths}, batch {SIZES[size].batch}, inner {optimizer}: time in plain steps, memory in MB")
    print(f"{'':42}{'time':>7}{'(rounds)':>15}{'processor':>11}{'ms':>9}{'extra MB':>11}{'process':>9}")
    for name, row in results.items():
        kind = "" if name == PLAIN else f"{entries[name].kind}{', exact' if name in exact else ''}"
        line = f"{name:26}{kind:16}"
        if "ratio" in row:
            spread = f"({row['ratio_from']:.2f}–{row['ratio_to']:.2f})"
            line += f"{row['ratio']:7.2f}{spread:>15}{row['processor_ratio']:11.2f}{1e3 * row['seconds']:9.2f}"
        if "extra_mb" in row:
            line = f"{line:84}{row['extra_mb']:11.0f}{row['process_mb']:9.0f}"
        print(line)
    over: dict[str, dict[str, float]] = {}
    for key, what in (("ratio", "time"), ("processor_ratio", "processor"), ("extra_mb", "memory")):
        of = {
            name: row[key] for name, row in results.items() if math.isfinite(row.get(key, math.nan)) and name != PLAIN
        }
        peers = [value for name, value in of.items() if name in exact and entries[name].kind == "peer"]
        for name in of if peers else ():
            if entries[name].kind == "ours":
                over.setdefault(name, {})[what] = of[name] / min(peers)
    for name, shares in over.items():
        said = ", ".join(f"{what} {value:.2f}" for what, value in shares.items())
        print(f"{name} over the best exact peer: {said}")
    return over


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="processes per variant for the times (default 3)")
    parser.add_argument("--repeats", type=int, default=200, help="timed units a process; a 40th at 20M (default 200)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    parser.add_argument("--small", action="store_true", help="leave out the model with 20 million parameters")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(json.loads(args.child))
        return
    versions: dict[str, str | None] = {}
    for package in ("bilevel-hpo", "torch", "torchopt", "betty-ml", "higher"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
            print(f"{package} is not installed: left out")
    print(", ".join(f"{package} {number}" for package, number in versions.items() if number))
    run = Runner(args.threads, args.repeats)
    outcome: dict[str, Any] = {"benchmark": "peers", "versions": versions, "threads": args.threads}
    for optimizer in LEARNING_RATE:
        entries = {
            name: entry
            for name, entry in ENTRIES.items()
            if optimizer in entry.optimizers and (entry.package is None or versions[entry.package])
        }
        checked = check(run, optimizer, entries)
        running = [name for name, found in checked.items() if isinstance(found, dict)]
        exact = {name for name in running if checked[name]["exact"]}
        outcome[optimizer] = {"numbers": checked}
        for size in ["toy"] if args.small else ["toy", "large"]:
            results = measured(run, size, optimizer, running, args.rounds)
            over = report(size, optimizer, results, entries, exact)
            outcome[optimizer][size] = {"results": results, "ours_over_best_exact_peer": over}
    print(json.dumps(_rounded(outcome)))


def _rounded(value: Any) -> Any:
    """Four digits, and null for NaN, which is no JSON."""
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


if __name__ == "__main__":
    main()
