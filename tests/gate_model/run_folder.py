"""A run folder as `gate compare` writes it, with made-up numbers."""

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

METHODS = {
    "budget": ("learned: one-step hypergradient on a budget", "learned"),
    "direct": ("learned: Direct, algorithm 3 as published", "learned"),
    "lambda=1": ("constant λ = 1 (GATE)", "constant"),
    "lambda=0": ("constant λ = 0 (no transfer, the control)", "constant"),
    "grid": ("grid search over symmetric λ", "search"),
    "tpe": ("TPE search over symmetric λ", "search"),
}
LEVEL = {"budget": 0.284, "direct": 0.290, "lambda=1": 0.2914, "lambda=0": 0.2886, "grid": 0.289, "tpe": 0.2885}


def write_run(
    folder: Path,
    tasks: Sequence[str] = ("DS", "HV", "BP"),
    seeds: Sequence[int] = (0, 1, 2),
    methods: Sequence[str] = tuple(METHODS),
    *,
    epochs: int = 30,
    molecules: int = 60,
    smiles: str = "CCO",
    unit: str = "kJ/mol",
    level: dict[str, float] = LEVEL,
    shared: bool = False,
) -> dict[str, Any]:
    """Write the folder; returns the content of results.json. `shared`: grid and TPE search one λ for all pairs."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    tasks, T = list(tasks), len(tasks)
    searched = bool({"grid", "tpe"} & set(methods))
    pairs = ["all"] if shared else [f"{a}|{b}" for a, b in combinations(tasks, 2)]
    ease = {task: 0.7 + 0.6 * (index % 5) / 4 for index, task in enumerate(tasks)}
    entries, ratios, ratios_history, history, predictions, trials = [], [], [], [], [], []
    for name in methods:
        title, group = METHODS[name]
        lambdas = []
        rmse: dict[str, list[float]] = {task: [] for task in tasks}
        for seed in seeds:
            noise = 0.01 * seed + rng.normal(0, 0.001, T)
            for column, task in enumerate(tasks):
                rmse[task].append(round(float((level[name] + noise[column]) * ease[task]), 6))
            final, path = _lambda(rng, name, T, epochs)
            for epoch, matrix in enumerate(path):
                for t, s in np.argwhere(~np.eye(T, dtype=bool)):
                    ratios_history.append((name, seed, epoch, tasks[t], tasks[s], matrix[t, s]))
            np.fill_diagonal(final, 1.0)
            lambdas.append(final.tolist())
            ratios += [(name, seed, t, s, final[i, j]) for i, t in enumerate(tasks) for j, s in enumerate(tasks)]
            if group != "search":
                pace = 1.1 if group == "learned" else 0.6
                for epoch in range(1, epochs + 1):
                    value = level[name] + 0.01 * seed + 0.7 * np.exp(-epoch / 5) + rng.normal(0, 0.002)
                    history.append((name, seed, epoch, pace * epoch * (1 + 0.05 * seed), value * 1.1, value))
            for task in tasks:
                true = rng.normal(50, 12, molecules)
                for y, p in zip(true, true + rng.normal(0, 3, molecules), strict=True):
                    predictions.append((name, seed, smiles, task, unit, y, p))
        if group == "search" and len(pairs) in (1, 3):
            trials += _trials(rng, name, seeds, len(pairs))
        entries.append(
            {
                "name": name,
                "title": title,
                "group": group,
                "seeds": list(seeds),
                "lambda": {"targets": tasks, "sources": tasks, "per_seed": lambdas},
                "test": rmse,
                "test_units": {task: [round(12 * v, 6) for v in rmse[task]] for task in tasks},
                "selection": rmse,
                "wall_s": 324.0 if group == "search" else 33.1,
                "training_runs": 27 if group == "search" else 1,
            }
        )
    if "budget" in methods:
        entries[list(methods).index("budget")]["signal"] = [verdict(seed) for seed in seeds]
    info = {"name": "density of the liquid", "unit": unit, "kind": "mixed", "transform": "identity", "labels": 1507}
    results: dict[str, Any] = {
        "kind": "comparison" if len(methods) > 1 or searched else "training",
        "tasks": tasks,
        "metric": {"name": "RMSE", "higher_is_better": False, "unit": "", "note": "standardised labels"},
        "control_note": "λ = 0 is the control: no task teaches another through the mapping loss.",
        "lambda_note": "in units of the direct path",
        "task_info": dict.fromkeys(tasks, info),
        "data": {"source": "chemicals 1.5.2", "molecules": 1507, "set_aside": 23},
        "split": {"train": 1055, "validation": 151, "selection": 151, "test": 150, "method": "scaffold"},
        "methods": entries,
        "command": "gate compare --tasks DS,HV,BP --out runs/demo",
        "versions": {"bilevel-hpo": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
    }
    if searched:
        results["search"] = {"parameters": pairs, "symmetric": True} | (
            {"note": "A λ for each pair would have been too many for a search."} if shared else {}
        )
        _csv(folder / "trials.csv", trials, ["method", "seed", "trial", *pairs, "selection", "wall_s"])
    aside = [(i + 2, "smiles", smiles + "(", "not a molecule", "row left out") for i in range(23)]
    ratio_columns = ["target", "source", "lambda"]
    _csv(folder / "history.csv", history, ["method", "seed", "epoch", "seconds", "train_loss", "selection"])
    _csv(folder / "ratios_history.csv", ratios_history, ["method", "seed", "epoch", *ratio_columns])
    _csv(folder / "ratios.csv", ratios, ["method", "seed", *ratio_columns])
    precision = {"budget": (1e-7, "float64", True), "direct": (None, "float32", True)}
    outer_steps = [
        (name, seed, step, *(precision[name] if step == 3 else (precision[name][0], "float32", True)))
        for name in methods
        if METHODS[name][1] == "learned"
        for seed in seeds
        for step in range(1, 11)
    ]
    columns = ["method", "seed", "outer_step", "certificate", "computed_in", "certified"]
    _csv(folder / "outer_steps.csv", outer_steps, columns)
    _csv(folder / "predictions.csv", predictions, ["method", "seed", "smiles", "task", "unit", "y_true", "y_pred"])
    _csv(folder / "set_aside.csv", aside, ["row", "column", "value", "reason", "action"])
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return results


def verdict(seed: int) -> dict[str, Any]:
    """As `gate_model.outer_steps.Verdict`: one λ told from chance in seed 2, none in the others."""
    more = ["HV->DS"] if seed == 2 else []
    numbers = {"told": len(more), "tested": 9, "p": 0.01 if more else 0.4, "level": 0.05, "steps": 10}
    return numbers | {"more": more, "less": [], "text": "…"}


def _lambda(rng: np.random.Generator, name: str, T: int, epochs: int) -> tuple[Any, list[Any]]:
    """The last λ `[T, T]`, and λ at the start and after every epoch if it is learned."""
    constant = {"lambda=1": 1.0, "lambda=0": 0.0, "grid": 0.2, "tpe": 0.23}
    if name in constant:
        return np.full((T, T), constant[name]), []
    start, end = (1.0, np.full((T, T), 0.04)) if name == "direct" else (0.25, rng.gamma(1.2, 0.2, (T, T)) + 0.02)
    path = [start + (end - start) * (1 - np.exp(-4 * epoch / epochs)) for epoch in range(epochs + 1)]
    return path[-1].copy(), path


def _trials(rng: np.random.Generator, name: str, seeds: Sequence[int], number: int) -> list[tuple[Any, ...]]:
    """27 points of three λ for each seed, or 9 of one."""
    axis = [0.2, 0.6, 1.0] if number == 3 else np.linspace(0.2, 1.0, 9)
    grid = np.stack(np.meshgrid(*[axis] * number), -1).reshape(-1, number)
    n = len(grid)
    rows: list[tuple[Any, ...]] = []
    for seed in seeds:
        points = grid if name == "grid" else rng.beta(1, 2.5, (n, number)) * 0.8 + 0.2
        values = 0.288 + 0.01 * seed + 0.004 * points.mean(axis=1) + rng.normal(0, 0.0004, n)
        rows += [(name, seed, trial, *points[trial], values[trial], 12.0) for trial in range(n)]
    return rows


def _csv(path: Path, rows: list[Any], columns: list[str]) -> None:
    # Trials of other numbers of λ are not made up: an empty table with the right header.
    pd.DataFrame(rows or None, columns=columns).to_csv(path, index=False)
