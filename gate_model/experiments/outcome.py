"""The numbers of a finished training, and the files they go into."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bilevel_hpo.run_folder import write_csv, write_json
from gate_model.data.prepared import PreparedData
from gate_model.methods import Learned, Method, relative
from gate_model.outer_steps import COLUMNS
from gate_model.training import EpochReport, Trained, predict, rmse
from gate_model.versions import versions

__all__ = ["SPLIT_METHOD", "Outcome", "outcome", "write_outcomes"]

SPLIT_METHOD = "scaffold; acyclic molecules one group each; one split per seed"


@dataclass(frozen=True)
class Outcome:
    """One training of one method and seed; plain numbers only, so that it travels between processes."""

    method: str
    title: str
    learned: bool
    seed: int
    lambda_: list[list[float]]
    """In units of the direct path, `[targets][sources]`, diagonal 1."""
    test_rmse: list[float]
    """Per task, standardised labels."""
    test_rmse_units: list[float]
    """Per task, in the task's own unit."""
    val_rmse: list[float]
    """Per task, on the selection molecules, standardised labels."""
    wall_s: float
    training_runs: int
    history: list[dict[str, float]]
    trajectory: list[list[list[float]]]
    """Learned methods: λ at the start and after every epoch; empty for a constant λ."""
    test_rows: list[int]
    test_predictions: list[list[float]]
    """Own units, `[test molecules][tasks]`."""
    outer_steps: list[dict[str, Any]] = field(default_factory=list)
    """Learned methods: their columns are `gate_model.outer_steps.COLUMNS`."""
    signal: dict[str, Any] | None = None
    """A `gate_model.outer_steps.Verdict`; None where there is none."""


def outcome(data: PreparedData, method: Method, trained: Trained, *, seed: int) -> Outcome:
    """Evaluate `trained` on selection and test molecules."""
    predicted, score = {}, {}
    for name, rows in (("selection", data.split.selection), ("test", data.split.test)):
        x, labels = data.some(rows)
        predicted[name] = predict(trained.model, x)
        score[name] = rmse(predicted[name], labels)
    learned = isinstance(method, Learned)
    return Outcome(
        method=method.name,
        title=method.title,
        learned=learned,
        seed=seed,
        lambda_=_lists(relative(trained.ratios)),
        test_rmse=score["test"].tolist(),
        test_rmse_units=(score["test"] * data.standardizer.std).tolist(),
        val_rmse=score["selection"].tolist(),
        wall_s=trained.seconds,
        training_runs=1,
        history=trained.history,
        trajectory=[_lists(relative(step)) for step in trained.trajectory] if learned else [],
        test_rows=data.split.test.tolist(),
        test_predictions=data.standardizer.inverse(predicted["test"]).tolist(),
        outer_steps=trained.outer_steps,
        signal=None if trained.verdict is None else asdict(trained.verdict),
    )


def write_outcomes(
    folder: Path,
    kind: str,
    datasets: dict[int, PreparedData],
    outcomes: Sequence[Outcome],
    *,
    command: str,
    trials: pd.DataFrame | None = None,
    parameters: Sequence[str] = (),
) -> None:
    """`results.json` and the csv files of a run folder, from the outcomes of all methods and seeds."""
    data = next(iter(datasets.values()))
    table, tasks = data.table, list(data.abbreviations)
    results: dict[str, Any] = {
        "kind": kind,
        "tasks": tasks,
        "task_info": {
            task.abbreviation: {
                "name": task.name,
                "unit": task.unit,
                "kind": task.kind,
                "transform": task.transform,
                "labels": int(np.isfinite(table.labels[:, column]).sum()),
            }
            for column, task in enumerate(table.tasks)
        },
        "data": {"source": table.source, "molecules": len(table.smiles), "set_aside": len(table.set_aside)},
        "split": data.split.sizes() | {"method": SPLIT_METHOD},
        "methods": [_method(tasks, [o for o in outcomes if o.method == name]) for name in _ordered(outcomes)],
        "command": command,
        "versions": versions(),
    }
    if trials is not None:
        results["search"] = {"parameters": list(parameters), "symmetric": True}
        write_csv(folder / "trials.csv", trials)
    write_csv(folder / "history.csv", _history([o for o in outcomes if o.method not in ("grid", "tpe")]))
    write_csv(folder / "ratios.csv", _ratios(tasks, outcomes))
    write_csv(folder / "ratios_history.csv", _ratios_history(tasks, outcomes))
    write_csv(folder / "outer_steps.csv", _outer_steps(outcomes))
    write_csv(folder / "predictions.csv", _predictions(datasets, outcomes))
    write_csv(folder / "set_aside.csv", table.set_aside)
    write_json(folder / "results.json", results)


def _lists(matrix: Tensor) -> list[list[float]]:
    rows: list[list[float]] = matrix.to(torch.float64).tolist()
    return rows


def _ordered(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(o.method for o in outcomes))


def _method(tasks: list[str], runs: Sequence[Outcome]) -> dict[str, Any]:
    def per_task(values: list[list[float]]) -> dict[str, list[float]]:
        return {task: [row[column] for row in values] for column, task in enumerate(tasks)}

    runs = sorted(runs, key=lambda run: run.seed)
    group = "learned" if runs[0].learned else "search" if runs[0].method in ("grid", "tpe") else "constant"
    return {
        "name": runs[0].method,
        "title": runs[0].title,
        "group": group,
        "seeds": [run.seed for run in runs],
        "lambda": {"targets": tasks, "sources": tasks, "per_seed": [run.lambda_ for run in runs]},
        "test_rmse": per_task([run.test_rmse for run in runs]),
        "test_rmse_units": per_task([run.test_rmse_units for run in runs]),
        "val_rmse": per_task([run.val_rmse for run in runs]),
        "wall_s": float(np.mean([run.wall_s for run in runs])),
        "training_runs": runs[0].training_runs,
        "signal": [run.signal for run in runs],
    }


def _history(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    rows = [{"method": o.method, "seed": o.seed, **row} for o in outcomes for row in o.history]
    return pd.DataFrame(rows, columns=["method", "seed", *EpochReport.__annotations__])


def _ratios(tasks: list[str], outcomes: Sequence[Outcome]) -> pd.DataFrame:
    rows = [
        (o.method, o.seed, target, source, o.lambda_[t][s])
        for o in outcomes
        for t, target in enumerate(tasks)
        for s, source in enumerate(tasks)
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "target", "source", "lambda"])


def _ratios_history(tasks: list[str], outcomes: Sequence[Outcome]) -> pd.DataFrame:
    rows = [
        (o.method, o.seed, epoch, target, source, matrix[t][s])
        for o in outcomes
        for epoch, matrix in enumerate(o.trajectory)
        for t, target in enumerate(tasks)
        for s, source in enumerate(tasks)
        if t != s
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "epoch", "target", "source", "lambda"])


def _outer_steps(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    rows = [{"method": o.method, "seed": o.seed, **row} for o in outcomes for row in o.outer_steps]
    return pd.DataFrame(rows, columns=["method", "seed", *COLUMNS])


def _predictions(datasets: dict[int, PreparedData], outcomes: Sequence[Outcome]) -> pd.DataFrame:
    rows = []
    for o in outcomes:
        table = datasets[o.seed].table
        for row, predicted in zip(o.test_rows, o.test_predictions, strict=True):
            for column, task in enumerate(table.tasks):
                if np.isfinite(table.labels[row, column]):
                    truth = float(table.labels[row, column])
                    rows.append(
                        (o.method, o.seed, table.smiles[row], task.abbreviation, task.unit, truth, predicted[column])
                    )
    return pd.DataFrame(rows, columns=["method", "seed", "smiles", "task", "unit", "y_true", "y_pred"])
