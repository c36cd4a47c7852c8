"""Read a run folder; everything is checked here, so that the rest of the report can trust it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo.run_folder import RunError, read_json

__all__ = ["ReportError", "RunFiles", "check", "numbers", "read_results", "read_run", "read_table"]


class ReportError(RunError):
    """Raised for a missing or damaged file of the run folder; the message names it and what it must be."""


@dataclass(frozen=True, eq=False)
class RunFiles:
    """The checked contents of a run folder. A table that this kind of run does not have is None."""

    results: dict[str, Any]
    history: pd.DataFrame | None
    """method, seed, epoch, seconds, train_loss, selection."""
    ratios_history: pd.DataFrame | None
    """method, seed, epoch, target, source, lambda: of methods whose λ is a matrix."""
    weights_history: pd.DataFrame | None
    """method, seed, epoch, label, lambda: of methods whose λ is a vector."""
    outer_steps: pd.DataFrame | None
    """method, seed, certificate, computed_in, certified."""
    trials: pd.DataFrame | None
    """method, seed, trial, one column per λ searched, selection, wall_s."""


_KEYS: dict[str, type] = {
    "kind": str,
    "tasks": list,
    "metric": dict,
    "methods": list,
    "command": str,
    "versions": dict,
}
_METHOD_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "title": str,
    "group": str,
    "seeds": list,
    "test": dict,
    "wall_s": (int, float),
    "training_runs": int,
}
_TRAINED = ("comparison", "training")
"""Kinds of run that keep the epochs of their trainings."""


def read_run(folder: Path) -> RunFiles:
    """Reads the files of `folder`; raises ReportError if one is missing or damaged."""
    results = read_results(folder / "results.json")
    search, trained = results.get("search"), results["kind"] in _TRAINED
    learned = [method for method in results["methods"] if method["group"] == "learned" and method.get("lambda")]
    matrix = trained and any("targets" in method["lambda"] for method in learned)
    vector = trained and any("labels" in method["lambda"] for method in learned)
    axes = [] if search is None else search["parameters"]

    def table(name: str, text: Sequence[str], numeric: Sequence[str], *, needed: bool) -> pd.DataFrame | None:
        path = folder / name
        return read_table(path, text, numeric) if needed or path.exists() else None

    epochs = ("seed", "epoch", "seconds", "train_loss", "selection")
    steps, trial = ("seed", "epoch", "lambda"), ("seed", "trial", *axes, "selection", "wall_s")
    return RunFiles(
        results=results,
        history=table("history.csv", ("method",), epochs, needed=trained),
        ratios_history=table("ratios_history.csv", ("method", "target", "source"), steps, needed=matrix),
        weights_history=table("weights_history.csv", ("method", "label"), steps, needed=vector),
        outer_steps=table(
            "outer_steps.csv", ("method", "computed_in", "certified"), ("seed", "certificate"), needed=False
        ),
        trials=None if search is None else read_table(folder / "trials.csv", ("method",), trial),
    )


def read_results(path: Path) -> dict[str, Any]:
    """Reads `results.json`, and checks its top level and that of each method."""
    try:
        results = read_json(path)
    except (RunError, OSError) as error:
        raise ReportError(str(error)) from error
    if not isinstance(results, dict):
        raise ReportError(f"{path} must hold an object with {list(_KEYS)}; got a {type(results).__name__}")
    _refuse_older(results, path)
    check(results, _KEYS, str(path))
    check(results["metric"], {"name": str, "higher_is_better": bool}, f"{path}: metric")
    _check_methods(results, path)
    tasks = results["tasks"]
    if not tasks or not all(isinstance(task, str) for task in tasks) or len(set(tasks)) < len(tasks):
        raise ReportError(f"{path}: tasks must be at least one name, each once; got {tasks!r}")
    _check_optional(results, str(path))
    return results


def _check_methods(results: dict[str, Any], path: Path) -> None:
    if not results["methods"]:
        raise ReportError(f"{path}: methods must have at least one entry; it is empty")
    names = []
    for index, method in enumerate(results["methods"]):
        where = f"{path}: methods[{index}]"
        if not isinstance(method, dict):
            raise ReportError(f"{where} must be an object; got {method!r}")
        check(method, _METHOD_KEYS, where)
        if not method["seeds"] and not method.get("failures"):
            raise ReportError(f"{where} must have at least one seed, or failures; it has neither")
        names.append(method["name"])
    if len(set(names)) < len(names):
        raise ReportError(f"{path}: methods must have different names; got {names}")
    if not any(method["seeds"] for method in results["methods"]):
        raise ReportError(f"{path}: every method failed, the first with: {results['methods'][0]['failures'][0]}")


def _refuse_older(results: dict[str, Any], path: Path) -> None:
    methods = results.get("methods")
    if isinstance(methods, list) and any(isinstance(method, dict) and "test_rmse" in method for method in methods):
        version = (results.get("versions") or {}).get("bilevel-hpo", "of an earlier version")
        raise ReportError(
            f"{path} was written by bilevel-hpo {version} in a format that is no longer read (its methods have "
            f"'test_rmse' in place of 'test'); run it again into a new folder: {results.get('command', '')}"
        )


def _check_optional(results: dict[str, Any], path: str) -> None:
    for key in ("split", "task_info", "search"):
        if not isinstance(results.get(key), dict | None):
            raise ReportError(f"{path}: {key} must be an object; got {results[key]!r}")
    for key in ("control", "control_note", "lambda_note"):
        if not isinstance(results.get(key), str | None):
            raise ReportError(f"{path}: {key} must be a string; got {results[key]!r}")
    search = results.get("search")
    axes = None if search is None else search.get("parameters")
    if search is not None and not (isinstance(axes, list) and axes and all(isinstance(axis, str) for axis in axes)):
        raise ReportError(f"{path}: search must be an object with a list of parameters; got {search!r}")


def check(found: Mapping[str, Any], wanted: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    """Raises ReportError naming `where` if a key of `wanted` is missing, or its value has another type."""
    for key, kind in wanted.items():
        if key not in found:
            raise ReportError(f"{where} lacks {key!r}; it has {sorted(found)}")
        if not isinstance(found[key], kind):
            names = "number" if isinstance(kind, tuple) else kind.__name__
            raise ReportError(f"{where}: {key!r} must be of type {names}; got {found[key]!r}")


def numbers(values: Any, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    """Returns `values` as an array of `shape`, with NaN for null; raises ReportError naming `where` otherwise."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ReportError(f"{where} must be a regular list of numbers of shape {shape}") from None
    if array.shape != shape:
        raise ReportError(f"{where} must have shape {shape}; got {array.shape}")
    return array


def read_table(path: Path, text: Sequence[str], numeric: Sequence[str]) -> pd.DataFrame:
    """Reads the named columns; text stays text, so that a task called NA or 1 keeps its name.

    Raises:
        ReportError: the file is missing or damaged, a column is missing, or a cell is not a number; it names all three.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise ReportError(f"{path} is missing; it must be a table with the columns {[*text, *numeric]}") from error
    except (ValueError, OSError) as error:  # EmptyDataError, ParserError and UnicodeDecodeError are ValueErrors
        raise ReportError(f"{path} is damaged: {error}; it must have the columns {[*text, *numeric]}") from error
    missing = [name for name in (*text, *numeric) if name not in frame.columns]
    if missing:
        raise ReportError(f"{path} lacks the columns {missing}; it has {list(frame.columns)}")
    for name in numeric:
        cells = frame[name].str.strip()
        values = pd.to_numeric(cells, errors="coerce").astype(np.float64)
        wrong = values.isna() & ~cells.str.lower().isin(["", "nan"])
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ReportError(f"{path}, line {row + 2}, column {name!r}: must be a number; got {cells.iloc[row]!r}")
        frame[name] = values
    return frame[[*text, *numeric]]
