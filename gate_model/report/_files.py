"""Reading a run folder: everything is checked here, so that the rest of the report can trust it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo.run_folder import RunError, read_json

__all__ = ["ReportError", "RunFiles", "check", "numbers", "read_run"]


class ReportError(RunError):
    """A file of the run folder that is missing or damaged; the message names it and what is wanted."""


@dataclass(frozen=True, eq=False)
class RunFiles:
    """The contents of a run folder, checked."""

    results: dict[str, Any]
    history: pd.DataFrame
    """method, seed, epoch, seconds, train_loss, val_rmse."""
    ratios_history: pd.DataFrame
    """method, seed, epoch, target, source, lambda."""
    predictions: pd.DataFrame
    """method, seed, smiles, task, unit, y_true, y_pred."""
    set_aside: pd.DataFrame
    """row, column, value, reason, action; all text."""
    outer_steps: pd.DataFrame | None
    """method, seed, certificate, computed_in, certified; None in a folder of before these were written."""
    trials: pd.DataFrame | None
    """method, seed, trial, one column per λ searched, val_rmse, wall_s; None without a search."""


_KEYS: dict[str, type] = {
    "kind": str,
    "tasks": list,
    "task_info": dict,
    "data": dict,
    "split": dict,
    "methods": list,
    "command": str,
    "versions": dict,
}
_METHOD_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "title": str,
    "group": str,
    "seeds": list,
    "lambda": dict,
    "test_rmse": dict,
    "test_rmse_units": dict,
    "val_rmse": dict,
    "wall_s": (int, float),
    "training_runs": int,
}


def read_run(folder: Path) -> RunFiles:
    """The files of `folder`; ReportError if one is missing or damaged."""
    results = _results(folder / "results.json")
    search = results.get("search")
    return RunFiles(
        results=results,
        history=_table(
            folder / "history.csv", text=("method",), numeric=("seed", "epoch", "seconds", "train_loss", "val_rmse")
        ),
        ratios_history=_table(
            folder / "ratios_history.csv", text=("method", "target", "source"), numeric=("seed", "epoch", "lambda")
        ),
        predictions=_table(
            folder / "predictions.csv",
            text=("method", "smiles", "task", "unit"),
            numeric=("seed", "y_true", "y_pred"),
        ),
        set_aside=_table(folder / "set_aside.csv", text=("row", "column", "value", "reason", "action"), numeric=()),
        outer_steps=_table(
            folder / "outer_steps.csv", text=("method", "computed_in", "certified"), numeric=("seed", "certificate")
        )
        if (folder / "outer_steps.csv").exists()
        else None,
        trials=None
        if search is None
        else _table(
            folder / "trials.csv",
            text=("method",),
            numeric=("seed", "trial", *search["parameters"], "val_rmse", "wall_s"),
        ),
    )


def numbers(values: Any, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    """`values` as an array of `shape`, null = NaN; ReportError naming `where` otherwise."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ReportError(f"{where} is not a regular list of numbers; shape {shape} is wanted") from None
    if array.shape != shape:
        raise ReportError(f"{where} has shape {array.shape}; {shape} is wanted")
    return array


def _results(path: Path) -> dict[str, Any]:
    try:
        results = read_json(path)
    except (RunError, OSError) as error:
        raise ReportError(str(error)) from error
    if not isinstance(results, dict):
        raise ReportError(f"{path} holds a {type(results).__name__}; an object with {list(_KEYS)} is wanted")
    check(results, _KEYS, str(path))
    tasks = results["tasks"]
    if not tasks or not all(isinstance(task, str) for task in tasks) or len(set(tasks)) < len(tasks):
        raise ReportError(f"{path}: tasks is {tasks!r}; at least one name, none of them twice, is wanted")
    for task in tasks:
        if not isinstance(results["task_info"].get(task), dict):
            raise ReportError(f"{path}: task_info lacks {task!r}; name, unit, kind and labels of it are wanted")
    check(results["data"], {"source": str, "molecules": int}, f"{path}: data")
    if not results["methods"]:
        raise ReportError(f"{path}: methods is empty; at least one is wanted")
    for index, method in enumerate(results["methods"]):
        if not isinstance(method, dict):
            raise ReportError(f"{path}: methods[{index}] is {method!r}; an object is wanted")
        check(method, _METHOD_KEYS, f"{path}: methods[{index}]")
        if not method["seeds"]:
            raise ReportError(f"{path}: methods[{index}] has no seeds; at least one is wanted")
    search = results.get("search")
    if search is not None and not (isinstance(search, dict) and isinstance(search.get("parameters"), list)):
        raise ReportError(f"{path}: search is {search!r}; an object with a list of parameters is wanted")
    return results


def check(found: dict[str, Any], wanted: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    """ReportError naming `where` if a key of `wanted` is missing, or its value of another type."""
    for key, kind in wanted.items():
        if key not in found:
            raise ReportError(f"{where} lacks {key!r}; it has {sorted(found)}")
        if not isinstance(found[key], kind):
            names = "number" if isinstance(kind, tuple) else kind.__name__
            raise ReportError(f"{where}: {key!r} is {found[key]!r}; a {names} is wanted")


def _table(path: Path, text: tuple[str, ...], numeric: tuple[str, ...]) -> pd.DataFrame:
    """The named columns; text stays text, so that a task called NA or 1 keeps its name."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise ReportError(f"{path} is missing; a table with the columns {[*text, *numeric]} is wanted") from error
    except (ValueError, OSError) as error:  # EmptyDataError, ParserError and UnicodeDecodeError are ValueErrors
        raise ReportError(f"{path} is damaged: {error}; the columns {[*text, *numeric]} are wanted") from error
    missing = [name for name in (*text, *numeric) if name not in frame.columns]
    if missing:
        raise ReportError(f"{path} lacks the columns {missing}; it has {list(frame.columns)}")
    for name in numeric:
        cells = frame[name].str.strip()
        values = pd.to_numeric(cells, errors="coerce").astype(np.float64)
        wrong = values.isna() & ~cells.str.lower().isin(["", "nan"])
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ReportError(f"{path}, line {row + 2}, column {name!r}: {cells.iloc[row]!r}; a number is wanted")
        frame[name] = values
    return frame[[*text, *numeric]]
