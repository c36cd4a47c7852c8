"""Run folders as a comparison of any model writes them, with made-up numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TITLES = {
    "learned": ("learned: one-step hypergradient", "learned"),
    "learned-frozen": ("λ of learned, frozen, in a second training", "frozen"),
    "lambda=1": ("constant λ = 1", "constant"),
    "lambda=0": ("constant λ = 0", "constant"),
    "grid": ("grid search", "search"),
    "tpe": ("TPE search", "search"),
    "gp": ("Gaussian process search", "search"),
    "random": ("random search", "search"),
}
METHODS = ("learned", "lambda=1", "lambda=0", "grid", "tpe")
ERROR = {"learned": 0.10, "learned-frozen": 0.11, "lambda=1": 0.13, "lambda=0": 0.15}
"""Of a method, about; searches 0.12. Of an accuracy it is what is missing to 1."""
EPOCHS = 6
ACCURACY = {"name": "accuracy", "higher_is_better": True}
RMSE = {"name": "RMSE", "higher_is_better": False}


def write_folder(
    folder: Path,
    labels: Sequence[str] = ("a", "b", "c"),
    seeds: Sequence[int] = (0, 1, 2),
    methods: Sequence[str] = METHODS,
    *,
    tasks: Sequence[str] = ("accuracy",),
    metric: Mapping[str, Any] = ACCURACY,
    axes: Sequence[str] | None = None,
    kind: str = "comparison",
    matrix: bool = False,
    split: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Write the folder; returns the content of results.json.

    λ has `labels`, which are tasks if it is a `matrix`; none for a method without any λ. `axes` of the searches: the
    labels, or pairs "a|b" of them, when left out. `more` goes into results.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    names = [f"{s}->{t}" for t in labels for s in labels] if matrix else list(labels)
    searched = [name for name in methods if TITLES[name][1] == "search"]
    axes = (
        [name for name in names if len(set(name.split("->"))) == (2 if matrix else 1)] if axes is None else list(axes)
    )
    entries, weights, history, trials = [], [], [], []
    for name in methods:
        title, group = TITLES[name]
        scores: dict[str, list[float]] = {task: [] for task in tasks}
        ends = []
        for seed in seeds:
            for task in tasks:
                error = ERROR.get(name, 0.12) + 0.01 * seed + rng.normal(0, 0.003)
                scores[task].append(float(1 - error if metric["higher_is_better"] else error))
            path = _path(rng, name, len(names))
            ends.append(path[-1])
            if group == "learned":
                weights += [
                    (name, seed, epoch, label, value)
                    for epoch, row in enumerate(path)
                    for label, value in zip(names, row, strict=True)
                ]
            if group != "search":
                for epoch in range(1, EPOCHS + 1):
                    value = ERROR[name] + 0.5 * np.exp(-epoch)
                    score = 1 - value if metric["higher_is_better"] else value
                    history.append((name, seed, epoch, 2.0 * epoch, value, score))
        if group == "search":
            trials += _trials(rng, name, seeds, len(axes), up=bool(metric["higher_is_better"]))
        entries.append(
            {
                "name": name,
                "title": title,
                "group": group,
                "seeds": list(seeds),
                "lambda": _lambda(labels, np.array(ends), matrix=matrix) if names else None,
                "test": scores,
                "selection": scores,
                "wall_s": 120.0 if group == "search" else 12.0,
                "training_runs": 10 if group == "search" else 1,
            }
        )
    results: dict[str, Any] = {
        "kind": kind,
        "tasks": list(tasks),
        "metric": dict(metric),
        "split": {"test_share": 0.25} if split is None else dict(split),
        "methods": entries,
        "command": "python compare.py",
        "versions": {"bilevel-hpo": "0.1.0", "torch": "2.13.0"},
    } | {key: value for key, value in more.items() if searched or key != "search"}
    if searched:
        results["search"] = {"parameters": list(axes)} | results.get("search", {})
        _csv(folder / "trials.csv", trials, ["method", "seed", "trial", *axes, "selection", "wall_s"])
    if kind != "leaderboard":
        _csv(folder / "history.csv", history, ["method", "seed", "epoch", "seconds", "train_loss", "selection"])
        _write_history(folder, weights, matrix=matrix)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return results


def change(folder: Path, results: dict[str, Any]) -> Path:
    """Write results.json anew."""
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder


def _path(rng: np.random.Generator, name: str, N: int) -> NDArray[np.float64]:
    """λ before training and after every epoch `[epochs + 1, N]`."""
    if name.startswith("lambda="):
        return np.full((EPOCHS + 1, N), float(name.removeprefix("lambda=")))
    end = rng.gamma(1.5, 0.4, N) if name.startswith("learned") else rng.random(N)
    return np.array([1 + (end - 1) * epoch / EPOCHS for epoch in range(EPOCHS + 1)])


def _lambda(labels: Sequence[str], ends: NDArray[np.float64], *, matrix: bool) -> dict[str, Any]:
    if not matrix:
        return {"labels": list(labels), "per_seed": ends.tolist()}
    square = ends.reshape(len(ends), len(labels), len(labels))
    return {"targets": list(labels), "sources": list(labels), "per_seed": square.tolist()}


def _write_history(folder: Path, rows: list[Any], *, matrix: bool) -> None:
    frame = pd.DataFrame(rows, columns=["method", "seed", "epoch", "label", "lambda"])
    if matrix:
        frame[["source", "target"]] = frame["label"].str.split("->", expand=True).to_numpy().reshape(-1, 2)
        columns = ["method", "seed", "epoch", "target", "source", "lambda"]
        frame[columns].to_csv(folder / "ratios_history.csv", index=False)
    else:
        frame.to_csv(folder / "weights_history.csv", index=False)


def _trials(rng: np.random.Generator, name: str, seeds: Sequence[int], axes: int, *, up: bool) -> list[tuple[Any, ...]]:
    """9 points for each seed; the best λ is 0.3 on every axis."""
    rows: list[tuple[Any, ...]] = []
    grid = np.stack(np.meshgrid(*[[0.0, 0.5, 1.0]] * min(axes, 2)), -1).reshape(-1, min(axes, 2))
    for seed in seeds:
        points = np.full((9, axes), 0.5)
        points[: len(grid), : grid.shape[1]] = grid
        if name != "grid":
            points = rng.random((9, axes))
        error = 0.1 + 0.05 * np.square(points - 0.3).mean(axis=1) + 0.01 * seed
        rows += [(name, seed, i, *points[i], 1 - error[i] if up else error[i], 12.0) for i in range(9)]
    return rows


def _csv(path: Path, rows: list[Any], columns: list[str]) -> None:
    pd.DataFrame(rows or None, columns=columns).to_csv(path, index=False)
