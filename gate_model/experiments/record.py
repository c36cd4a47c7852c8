"""Records of trainings for `bilevel_hpo.comparison`, and the files of a run folder with what GATE adds to them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bilevel_hpo import Box, TransferRatios, comparison
from bilevel_hpo.comparison import Answer, Answers, Metric, Setting, Trained, write_record
from bilevel_hpo.run_folder import write_csv
from gate_model.data.prepared import PreparedData
from gate_model.data.splits import SPLIT_METHOD
from gate_model.model.evaluation import predict, rmse
from gate_model.run_folder import PACKAGES
from gate_model.training import trained as of_gate
from gate_model.training.methods import Method, relative

__all__ = ["RMSE", "record_of", "setting_of", "write_run"]

RMSE = Metric("RMSE")
"""The metric of all comparisons: RMSE on standardised labels."""
CONTROL = "lambda=0"
"""The method without transfer, with which all others are compared if it was run."""
_NOTES: Mapping[str, Any] = {
    "metric": {"name": RMSE.name, "higher_is_better": RMSE.higher_is_better, "note": "standardised labels"},
    "lambda_note": "in units of the direct path",
}
"""Notes that the report shows."""
_CONTROL_NOTE = (
    "λ = 0 is the control: no task teaches another through the mapping loss. Only what beats it has gained from "
    "transfer; beating λ = 1 alone does not show that."
)
_NO_CONTROL = "No control was run (λ = 0); this folder cannot tell whether transfer helped. See gate compare."
_SHARED_NOTE = "A λ for each pair would have been too many for a search."
_OUTSIDE = ("scikit-learn", "lightgbm")
"""Packages of some methods of the leaderboard; their versions are recorded if they are installed."""


def record_of(data: PreparedData, method: Method, trained: of_gate.Trained, *, test: bool = True) -> Trained:
    """Return the record of a training by `method`, with its RMSE on the selection molecules.

    With `test` it also has the RMSE on the test molecules, and `extra` holds the test RMSE in the tasks' own units and
    the predictions. λ is in units of the direct path.
    """
    selection = _scores(data, trained, data.split.selection)[0]
    scores, extra = dict[str, float](), dict[str, Any]()
    if test:
        scores, predicted = _scores(data, trained, data.split.test)
        units = np.array(list(scores.values())) * data.standardizer.std
        extra = {
            "test_units": units.tolist(),
            "rows": data.split.test.tolist(),
            "predictions": data.standardizer.inverse(predicted).tolist(),
        }
    learned = method.learning is not None
    return Trained(
        selection,
        scores,
        seconds=trained.seconds,
        epochs=len(trained.history),
        lambda_=relative(trained.ratios).double().flatten().tolist(),
        trajectory=[relative(step).double().flatten().tolist() for step in trained.trajectory] if learned else [],
        curve=trained.history,
        outer_steps=trained.outer_steps,
        signal=None if trained.verdict is None else asdict(trained.verdict),
        extra=extra,
    )


def setting_of(folder: Path, tasks: Sequence[str], about: Mapping[str, Any], *, storage: str | None = None) -> Setting:
    """Return what all methods of a comparison on these tasks share.

    Args:
        folder: the run folder.
        tasks: names of the tasks.
        about: everything that decides the numbers, for the identity of stored trainings.
        storage: where searches store their studies; default: in the run folder.

    A search may try any λ of at least 0.
    """
    anything = TransferRatios(tasks, constraint=Box(0.0, math.inf))
    return Setting(anything, RMSE, folder / "jobs", storage, about)


def write_run(
    folder: Path,
    kind: str,
    datasets: Mapping[int, PreparedData],
    methods: Sequence[comparison.Method],
    answers: Answers,
    setting: Setting,
    *,
    command: str,
    split: str = SPLIT_METHOD,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write `results.json` and the tables of a run folder.

    Args:
        folder: the run folder.
        kind: "training", "comparison" or "leaderboard".
        datasets: prepared data by seed, all with the same tasks.
        methods: the methods, in the order in which they are shown.
        answers: the answers of all methods for all seeds.
        setting: the setting of the comparison, from `setting_of`.
        command: the command that repeats the run.
        split: how the molecules were split, in words.
        more: further entries of results.json.
    """
    data = next(iter(datasets.values()))
    table = data.table
    facts = {
        **(more or {}),
        **_NOTES,
        "kind": kind,
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
        "split": data.split.sizes() | {"method": split},
        "command": command,
    }
    has_control = any(method.name == CONTROL for method in methods)
    facts |= {"control": CONTROL, "control_note": _CONTROL_NOTE} if has_control else {"control_note": _NO_CONTROL}
    facts |= _searched(methods)
    seeds, packages = list(datasets), [*PACKAGES, *(_installed(_OUTSIDE) if kind == "leaderboard" else ())]
    write_record(folder, methods, seeds, answers, setting, facts=facts, of_method=_in_units(data), packages=packages)
    if kind != "leaderboard":
        write_csv(folder / "predictions.csv", _predictions(datasets, answers))
    write_csv(folder / "set_aside.csv", table.set_aside)


def _scores(data: PreparedData, trained: of_gate.Trained, rows: Any) -> tuple[dict[str, float], Any]:
    x, labels = data.some(rows)
    predicted = predict(trained.model, x)
    return dict(zip(data.abbreviations, rmse(predicted, labels).tolist(), strict=True)), predicted


def _searched(methods: Sequence[comparison.Method]) -> dict[str, Any]:
    """Return what the report says about the λ that grid and TPE search, if they are among the methods."""
    axes = [method.axes for method in methods if isinstance(method, comparison.Searched)]
    if any(isinstance(each, comparison.Axes) and each.shared for each in axes):
        return {"search": {"symmetric": True, "note": _SHARED_NOTE}}
    return {"search": {"symmetric": True}} if any(isinstance(each, comparison.Axes) for each in axes) else {}


def _installed(packages: Sequence[str]) -> list[str]:
    known = {one.metadata["Name"] for one in distributions()}
    return [package for package in packages if package in known]


def _in_units(data: PreparedData) -> Any:
    """Return a function from the answers of one method to its test RMSE in the tasks' own units."""

    def of(runs: Sequence[Answer]) -> dict[str, Any]:
        rows = [run.trained.extra["test_units"] for run in runs if not run.trained.failure]
        return {"test_units": {task: [row[i] for row in rows] for i, task in enumerate(data.abbreviations)}}

    return of


def _predictions(datasets: Mapping[int, PreparedData], answers: Answers) -> pd.DataFrame:
    rows = []
    for (method, seed), answer in answers.items():
        table, extra = datasets[seed].table, answer.trained.extra
        for row, predicted in zip(extra.get("rows", ()), extra.get("predictions", ()), strict=True):
            for column, task in enumerate(table.tasks):
                truth = float(table.labels[row, column])
                if np.isfinite(truth):
                    rows.append(
                        (method, seed, table.smiles[row], task.abbreviation, task.unit, truth, predicted[column])
                    )
    return pd.DataFrame(rows, columns=["method", "seed", "smiles", "task", "unit", "y_true", "y_pred"])
