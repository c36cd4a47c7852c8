"""The leaderboard from the results of all jobs: tables as data, and as a page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo.run_folder import replacing, write_csv, write_json
from gate_model.experiments.leaderboard.jobs import Result
from gate_model.experiments.leaderboard.paired import Paired, paired
from gate_model.experiments.leaderboard.table import ENTRIES, UNIFORM, UNIFORM_VALUES
from gate_model.versions import versions

__all__ = ["REFERENCES", "Row", "best_uniform", "rows_of", "write_board"]

REFERENCES = (
    "lambda=1-plain",
    "lambda=1",
    "lambda=0-plain",
    "lambda=0",
    UNIFORM,
    "extra-trees",
    "chemprop",
    "chemprop-timed",
)
"""What every method is compared with."""
_SAME_COST = 1.10


@dataclass(frozen=True)
class Row:
    """One method over all seeds."""

    method: str
    title: str
    group: str
    seeds: tuple[int, ...]
    test: NDArray[np.float64]
    """RMSE `[seeds, tasks]`, standardised labels."""
    units: NDArray[np.float64]
    """The same in the tasks' own units."""
    seconds: float
    """Of one seed's answer, all its trainings; mean over seeds."""
    cpu_seconds: float
    training_runs: int
    failures: tuple[str, ...] = ()
    """What went wrong, by seed; those seeds are in no number."""
    note: str = ""


def rows_of(results: Sequence[Result], names: Sequence[str]) -> list[Row]:
    """One row for each name, best mean RMSE first; a method that failed for every seed comes last."""
    by_method: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda result: result.seed):
        by_method.setdefault(result.method, []).append(result)
    rows = [
        best_uniform(by_method) if name == UNIFORM else _row(by_method[name], ENTRIES[name].title) for name in names
    ]
    return sorted(rows, key=lambda row: float(row.test.mean()) if row.seeds else np.inf)


def best_uniform(by_method: dict[str, list[Result]]) -> Row:
    """For each seed the constant λ with the best RMSE on its selection molecules; all trainings are counted."""
    chosen, seconds, cpu = [], [], []
    tried = [by_method[f"lambda={value:g}"] for value in UNIFORM_VALUES]
    for runs in zip(*tried, strict=True):
        chosen.append(min((run for run in runs if not run.failure), key=lambda run: float(np.mean(run.val_rmse))))
        seconds.append(sum(run.seconds for run in runs))
        cpu.append(sum(run.cpu_seconds for run in runs))
    row = _row(chosen, f"best uniform λ of {len(tried)}, chosen on selection molecules")
    return Row(
        UNIFORM,
        row.title,
        row.group,
        row.seeds,
        row.test,
        row.units,
        float(np.mean(seconds)),
        float(np.mean(cpu)),
        len(tried),
        note="chosen: " + ", ".join(run.method.removeprefix("lambda=") for run in chosen),
    )


def write_board(folder: Path, rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """leaderboard.csv, comparisons.csv, per_task.csv, results.json and leaderboard.md.

    Args:
        folder: where they go.
        rows: of `rows_of`.
        facts: of the run: `tasks`, `units` (by task), and whatever else results.json should hold.
    """
    tasks = list(facts["tasks"])
    compared = comparisons(rows)
    write_csv(folder / "leaderboard.csv", _leaderboard(rows, compared))
    write_csv(folder / "comparisons.csv", compared)
    write_csv(folder / "per_task.csv", _per_task(rows, tasks, facts["units"]))
    methods = [
        {
            "name": row.method,
            "title": row.title,
            "group": row.group,
            "seeds": list(row.seeds),
            "test_rmse": {task: row.test[:, column].tolist() for column, task in enumerate(tasks)} if row.seeds else {},
            "test_rmse_units": {task: row.units[:, c].tolist() for c, task in enumerate(tasks)} if row.seeds else {},
            "wall_s": row.seconds,
            "cpu_s": row.cpu_seconds,
            "training_runs": row.training_runs,
            "failures": list(row.failures),
            "note": row.note,
        }
        for row in rows
    ]
    write_json(
        folder / "results.json",
        {"kind": "leaderboard", **facts, "methods": methods, "versions": versions() | _installed()},
    )
    with replacing(folder / "leaderboard.md") as file:
        file.write(_page(rows, compared, facts).encode())


def comparisons(rows: Sequence[Row]) -> pd.DataFrame:
    """Every method against every reference, and against the best of those that cost no more: fields of `Paired`."""
    known = {row.method: row for row in rows if row.seeds}
    found = []
    for row in known.values():
        cheap = [other for other in known.values() if other.cpu_seconds <= _SAME_COST * row.cpu_seconds]
        complete = [other for other in cheap if other is not row and set(other.seeds) >= set(row.seeds)]
        rival = min(complete, key=lambda other: float(_of(other, row.seeds).mean()), default=None)
        against = [(name, known[name]) for name in REFERENCES if name in known and name != row.method]
        against += [("best at no higher cost", rival)] if rival is not None else []
        for kind, other in against:
            seeds = [seed for seed in row.seeds if seed in other.seeds]
            if seeds:
                result = paired(_of(row, seeds), _of(other, seeds))
                found.append({"method": row.method, "against": kind, "reference": other.method} | asdict(result))
    columns = ["method", "against", "reference", *Paired.__annotations__]
    return pd.DataFrame(found, columns=columns)


def _installed() -> dict[str, str]:
    """Versions of the optional packages behind a row, where they are."""
    names = {one.metadata["Name"]: one.version for one in distributions()}
    return {package: names[package] for package in ("scikit-learn", "lightgbm") if package in names}


def _row(runs: Sequence[Result], title: str) -> Row:
    good = [run for run in runs if not run.failure]
    return Row(
        runs[0].method,
        title,
        ENTRIES[runs[0].method].group,
        tuple(run.seed for run in good),
        np.array([run.test_rmse for run in good]),
        np.array([run.test_rmse_units for run in good]),
        float(np.mean([run.seconds for run in good])) if good else 0.0,
        float(np.mean([run.cpu_seconds for run in good])) if good else 0.0,
        runs[0].training_runs,
        tuple(f"seed {run.seed}: {run.failure}" for run in runs if run.failure),
    )


def _of(row: Row, seeds: Sequence[int]) -> NDArray[np.float64]:
    return row.test[[row.seeds.index(seed) for seed in seeds]]


def _std(values: NDArray[np.float64]) -> float:
    """Over seeds, of the mean over tasks."""
    return float(values.mean(1).std(ddof=1)) if len(values) > 1 else 0.0


def _leaderboard(rows: Sequence[Row], compared: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for row in rows:
        line: dict[str, Any] = {"method": row.method, "title": row.title, "seeds": len(row.seeds)}
        if row.seeds:
            line |= {"rmse": float(row.test.mean()), "rmse_std": _std(row.test)}
        own = compared[compared["method"] == row.method].set_index("against")
        for name in REFERENCES:
            if name in own.index:
                for key in ("ratio", "ratio_std", "wins", "p_tasks", "effect"):
                    line[f"{key} to {name}"] = own.loc[name, key]
        line |= {"training_runs": row.training_runs, "seconds": row.seconds, "cpu_seconds": row.cpu_seconds}
        lines.append(line | {"failures": "; ".join(row.failures), "note": row.note})
    return pd.DataFrame(lines)


def _per_task(rows: Sequence[Row], tasks: Sequence[str], units: dict[str, str]) -> pd.DataFrame:
    lines = []
    for row in (row for row in rows if row.seeds):
        for column, task in enumerate(tasks):
            own, in_units = row.test[:, column], row.units[:, column]
            spread = [float(values.std(ddof=1)) if len(values) > 1 else 0.0 for values in (own, in_units)]
            lines.append((row.method, task, own.mean(), spread[0], in_units.mean(), spread[1], units[task]))
    columns = ["method", "task", "rmse", "rmse_std", "rmse_units", "rmse_units_std", "unit"]
    return pd.DataFrame(lines, columns=columns)


def _page(rows: Sequence[Row], compared: pd.DataFrame, facts: dict[str, Any]) -> str:
    shown = [name for name in REFERENCES if name in set(compared["against"])]
    cells = compared.set_index(["method", "against"])

    def cell(method: str, against: str) -> str:
        if method == against:
            return "1"
        if (method, against) not in cells.index:
            return "–"
        found: Any = cells.loc[(method, against)]
        named = f" ({found['reference']})" if against not in REFERENCES else ""
        return f"{found['ratio']:.3f}{named}, {found['wins']}/{found['tasks']}, p {found['p_tasks']:.1g}"

    last = "best at no higher cost"
    lines = [
        f"{len(facts['tasks'])} tasks, {facts['molecules']} molecules, {facts['split']} split, fraction "
        f"{facts['fraction']:g} of the train and validation molecules, {facts['epochs']} epochs. Test RMSE on "
        "standardised labels, mean over tasks ± standard deviation over seeds. Against a reference: mean ratio of RMSE "
        "over tasks and seeds, tasks won (mean over seeds), p of Wilcoxon's signed-rank test over tasks. Seconds are "
        "wall seconds of all trainings behind one seed's answer, one thread each; what costs no more is judged by "
        "processor seconds, at most 1.10 times as many.",
        "",
        "| method | RMSE | "
        + " | ".join(f"to {name}" for name in shown)
        + f" | to the {last} | trainings | seconds | CPU s |",
        "|---" * (len(shown) + 6) + "|",
    ]
    for row in rows:
        score = f"{row.test.mean():.4f}" if row.seeds else "failed"
        score += f" ± {_std(row.test):.4f}" if len(row.seeds) > 1 else ""
        against = " | ".join(cell(row.method, name) for name in [*shown, last])
        cost = f"{row.training_runs} | {row.seconds:.0f} | {row.cpu_seconds:.0f}"
        lines.append(f"| `{row.method}`: {row.title} | {score} | {against} | {cost} |")
    lines += ["", *(f"`{row.method}`: {text}" for row in rows for text in (*row.failures, row.note) if text)]
    return "\n".join(lines).rstrip() + "\n"
