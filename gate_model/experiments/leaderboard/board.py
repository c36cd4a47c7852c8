"""The leaderboard, made from the answers of all methods: tables as CSV, and a page in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo.comparison import Answer, Answers
from bilevel_hpo.run_folder import replacing, write_csv
from bilevel_hpo.statistics import paired
from gate_model.experiments.leaderboard.table import ENTRIES, UNIFORM

__all__ = ["REFERENCES", "Row", "rows_of", "write_board"]

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
"""The methods with which every method is compared, if they were run."""
_SAME_COST = 1.10
_NUMBERS = ("ratio", "ratio_std", "geometric", "wins", "tasks", "p_tasks", "effect", "p_pairs", "wins_pairs", "pairs")
"""Fields of `bilevel_hpo.statistics.Paired` that are columns of comparisons.csv."""


@dataclass(frozen=True)
class Row:
    """One method over all seeds."""

    method: str
    title: str
    group: str
    seeds: tuple[int, ...]
    test: NDArray[np.float64]
    """Test RMSE `[seeds, tasks]` on standardised labels."""
    units: NDArray[np.float64]
    """Test RMSE `[seeds, tasks]` in the tasks' own units."""
    seconds: float
    """Wall-clock seconds of all trainings for one seed; mean over seeds."""
    cpu_seconds: float
    """Processor seconds of all trainings for one seed; mean over seeds."""
    training_runs: int
    """Number of trainings for one seed."""
    failures: tuple[str, ...] = ()
    """What failed, by seed. Failed seeds are left out of all numbers."""
    note: str = ""
    """What the method chose, if it chooses among others."""


def rows_of(names: Sequence[str], answers: Answers) -> list[Row]:
    """Return one row for each name. The best mean RMSE comes first; methods that failed for every seed come last."""
    rows = [_row(name, {seed: answer for (of, seed), answer in answers.items() if of == name}) for name in names]
    return sorted(rows, key=lambda row: float(row.test.mean()) if row.seeds else np.inf)


def write_board(folder: Path, rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """Write leaderboard.csv, comparisons.csv, per_task.csv and leaderboard.md.

    Args:
        folder: folder for the files.
        rows: the rows, from `rows_of`.
        facts: facts of the run: `tasks`, `units` (by task), molecules, split, fraction and epochs.
    """
    tasks = list(facts["tasks"])
    compared = comparisons(rows)
    write_csv(folder / "leaderboard.csv", _leaderboard(rows, compared))
    write_csv(folder / "comparisons.csv", compared)
    write_csv(folder / "per_task.csv", _per_task(rows, tasks, facts["units"]))
    with replacing(folder / "leaderboard.md") as file:
        file.write(_page(rows, compared, facts).encode())


def comparisons(rows: Sequence[Row]) -> pd.DataFrame:
    """Compare every method with every reference, and with the best method that costs no more.

    Each row has the numbers of `bilevel_hpo.statistics.Paired`.
    """
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
                names = {"method": row.method, "against": kind, "reference": other.method}
                found.append(names | {number: getattr(result, number) for number in _NUMBERS})
    return pd.DataFrame(found, columns=["method", "against", "reference", *_NUMBERS])


def _row(name: str, answers: Mapping[int, Answer]) -> Row:
    good = {seed: answer for seed, answer in answers.items() if not answer.trained.failure}
    entry, several = ENTRIES[name], list(good.values())
    chosen = ", ".join(answer.note.removeprefix("lambda=") for answer in several if answer.note)
    return Row(
        name,
        entry.title,
        entry.group,
        tuple(good),
        np.array([list(answer.trained.test.values()) for answer in several]),
        np.array([answer.trained.extra["test_units"] for answer in several]),
        float(np.mean([answer.seconds for answer in several])) if good else 0.0,
        float(np.mean([answer.cpu_seconds for answer in several])) if good else 0.0,
        next(iter(answers.values())).training_runs,
        tuple(f"seed {seed}: {answer.trained.failure}" for seed, answer in answers.items() if answer.trained.failure),
        f"chosen: {chosen}" if chosen else "",
    )


def _of(row: Row, seeds: Sequence[int]) -> NDArray[np.float64]:
    return row.test[[row.seeds.index(seed) for seed in seeds]]


def _std(values: NDArray[np.float64]) -> float:
    """Return the standard deviation over seeds of the mean over tasks; 0 for one seed."""
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
