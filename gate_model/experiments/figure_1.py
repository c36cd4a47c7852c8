"""Figure 1 of the paper: RMSE over the three symmetric λ of DS, HV and BP, on the paper's grid and on a wider one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo import DivergedError
from bilevel_hpo.comparison import Answer, Method, Progress, Trained, run_methods
from bilevel_hpo.jobs import On
from bilevel_hpo.plots import LandscapeFacts, landscape
from bilevel_hpo.run_folder import replacing, write_csv, write_json
from gate_model.data.prepared import PreparedData
from gate_model.experiments.compare import grid_of, single
from gate_model.experiments.figure_1_findings import findings, paragraph
from gate_model.experiments.record import setting_of
from gate_model.experiments.trainings import Trainings
from gate_model.run_folder import versions
from gate_model.training.methods import LEARNED, pairs
from gate_model.training.settings import Settings

__all__ = ["GRIDS", "TASKS", "figure_1", "write_figure_1"]

TASKS = ("DS", "HV", "BP")
GRIDS: Mapping[str, tuple[float, ...]] = {"paper": (0.2, 0.4, 0.6, 0.8, 1.0), "wide": (0.0, 0.2, 1.0, 1.7, 3.0)}
"""Values of each λ on the two grids. "paper" has the paper's values. "wide" has 0 (no transfer), the ends of the
paper's range and two larger values: at λ = 3 the transferred paths of a target weigh three times as much as its direct
path."""


def figure_1(
    folder: Path,
    datasets: Mapping[int, PreparedData],
    settings: Settings,
    *,
    population: int,
    on: On,
    command: str,
    progress: Progress = lambda done, total: None,
) -> None:
    """Train all points of both grids and the methods that learn λ for every seed, and write the results.

    Each finished training is stored in `folder/jobs`; a later call continues from there.

    Args:
        folder: folder for the results.
        datasets: prepared data of the three tasks by seed; each seed has its own split.
        settings: hyperparameters of every training.
        population: number of grid points that are trained together.
        on: where to train, see `bilevel_hpo.jobs.workers`.
        command: the command that repeats the experiment, for the results.
        progress: called with (number of trainings done, number of all trainings).

    Raises:
        DivergedError: the predictions of a training were not finite.
    """
    grids = {name: replace(grid_of(values, population=population), name=name) for name, values in GRIDS.items()}
    methods: list[Method] = [*grids.values(), *map(single, LEARNED.values())]
    data = next(iter(datasets.values()))
    about = {"molecules": len(data.table.smiles), "split": data.split.sizes(), "settings": asdict(settings)}
    trainings = Trainings(datasets, settings, LEARNED)
    answers = run_methods(
        trainings,
        methods,
        list(datasets),
        setting_of(folder, TASKS, about),
        on=on,
        together=trainings.together,
        progress=progress,
    )
    failed = [
        f"{name}, seed {seed}: {one.trained.failure}" for (name, seed), one in answers.items() if one.trained.failure
    ]
    if failed:
        raise DivergedError("; ".join(failed))
    frames = [_points(answers[name, seed], name, seed) for name in GRIDS for seed in datasets]
    learned = {name: {seed: answers[name, seed].trained for seed in datasets} for name in LEARNED}
    about |= {"command": command, "versions": versions()}
    write_figure_1(folder, pd.concat(frames, ignore_index=True), learned, about)


def write_figure_1(
    folder: Path, points: pd.DataFrame, learned: Mapping[str, Mapping[int, Trained]], about: Mapping[str, object]
) -> None:
    """Write `points.csv`, `learned.csv`, `findings.json`, `findings.md` and the pages of the two landscapes.

    Args:
        folder: folder for the files.
        points: columns grid, seed, one for each λ, val_rmse, test_rmse (for winners only) and seconds.
        learned: the trainings that learned λ, by method and seed.
        about: data, settings and command, for findings.json.
    """
    names = pairs(TASKS)
    table = pd.DataFrame(
        [
            {"method": name, "seed": seed}
            | dict(zip(names, _symmetric(each.lambda_), strict=True))
            | {"val_rmse": _mean(each.selection), "test_rmse": _mean(each.test), "seconds": each.seconds}
            for name, runs in learned.items()
            for seed, each in runs.items()
        ]
    )
    facts = findings(points, table, names)
    write_csv(folder / "points.csv", points)
    write_csv(folder / "learned.csv", table)
    write_json(folder / "findings.json", {**about, **facts})
    with replacing(folder / "findings.md") as file:
        file.write(f"{paragraph(facts)}\n".encode())
    paths = [
        (name, np.array([_symmetric(lambda_) for lambda_ in each.trajectory]))
        for name, runs in learned.items()
        for each in runs.values()
    ]
    for name in GRIDS:
        with replacing(folder / f"{name}.html") as file:
            file.write(_landscape(points[points["grid"] == name], names, paths).encode())


def _landscape(points: pd.DataFrame, names: Sequence[str], paths: Sequence[tuple[str, NDArray[np.float64]]]) -> str:
    """Return a page with the mean over the seeds at each point, after every seed is shifted to the common mean."""
    level = points.groupby("seed")["val_rmse"].transform("mean")
    facts = LandscapeFacts.from_frame(
        points.assign(level=points["val_rmse"] - level + points["val_rmse"].mean()),
        names,
        "level",
        group="grid",
        learned=[path for _, path in paths],
        names=[name for name, _ in paths],
        objective="RMSE, selection molecules",
    )
    page: str = landscape(facts).to_html(include_plotlyjs=True)
    return page


def _points(answer: Answer, grid: str, seed: int) -> pd.DataFrame:
    """Return the rows of `points.csv` for one grid and seed."""
    rows = [{**trial.params, "val_rmse": trial.selection, "seconds": trial.seconds} for trial in answer.trials]
    frame = pd.DataFrame(rows)
    best = frame.index == frame["val_rmse"].idxmin()
    frame.insert(len(frame.columns) - 1, "test_rmse", np.where(best, _mean(answer.trained.test), np.nan))
    frame.insert(0, "seed", seed)
    frame.insert(0, "grid", grid)
    return frame


def _mean(scores: Mapping[str, float]) -> float:
    return float(np.mean(list(scores.values())))


def _symmetric(lambda_: Sequence[float]) -> list[float]:
    """Return the mean of both directions of each pair, from λ `[T²]`."""
    T = len(TASKS)
    return [(lambda_[T * t + s] + lambda_[T * s + t]) / 2 for t, s in combinations(range(T), 2)]
