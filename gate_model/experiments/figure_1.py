"""Figure 1 of the paper in full, and a wider grid beside it: RMSE over the three symmetric λ of DS, HV and BP."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo.plots import LandscapeFacts, landscape
from bilevel_hpo.run_folder import read_json, replacing, write_csv, write_json
from gate_model.data.prepared import PreparedData
from gate_model.experiments.figure_1_findings import findings, paragraph
from gate_model.experiments.outcome import Outcome, outcome
from gate_model.experiments.search import run_search
from gate_model.methods import LEARNED, pairs
from gate_model.training import Settings, train
from gate_model.versions import versions

__all__ = ["GRIDS", "TASKS", "figure_1", "write_figure_1"]

TASKS = ("DS", "HV", "BP")
GRIDS: Mapping[str, tuple[float, ...]] = {"paper": (0.2, 0.4, 0.6, 0.8, 1.0), "wide": (0.0, 0.2, 1.0, 1.7, 3.0)}
"""The paper's values; and, coarser, 0 (no transfer), the ends of the paper's range, and two values beyond it: at λ = 3
the transferred paths of a target weigh three times as much as its direct path."""


def figure_1(
    folder: Path,
    datasets: Mapping[int, PreparedData],
    settings: Settings,
    *,
    population: int,
    command: str,
    progress: Callable[[int, int], object] = lambda done, trainings: None,
) -> None:
    """Train every point of both grids and every learned λ for every seed, and write the folder.

    Each finished job is a file under `folder/jobs`, each grid point a line in a journal there; the same call goes on
    from those.

    Args:
        folder: for the results.
        datasets: the three tasks, one split per seed.
        settings: of every training.
        population: grid points that are trained in one.
        command: how to repeat it, for the results.
        progress: called with (trainings done, trainings in all).
    """
    jobs = folder / "jobs"
    cost = {name: len(values) ** 3 + 1 for name, values in GRIDS.items()} | dict.fromkeys(LEARNED, 1)
    all_trainings, done = len(datasets) * sum(cost.values()), 0
    outcomes: dict[str, list[Outcome]] = {name: [] for name in cost}
    frames = []
    for seed, data in datasets.items():
        for name in cost:
            file, points = jobs / f"{name}-seed{seed}.json", jobs / f"{name}-seed{seed}.csv"
            if not file.exists() and name in GRIDS:
                before = done
                found, frame = run_search(
                    "grid",
                    data,
                    settings,
                    seed=seed,
                    storage=jobs / f"{name}-seed{seed}.journal",
                    values=GRIDS[name],
                    trials=None,
                    population=population,
                    after_trial=lambda n, before=before: progress(before + n, all_trainings),  # type: ignore[misc]
                )
                write_csv(points, frame)
                write_json(file, asdict(found))
            elif not file.exists():
                trained = train(data, LEARNED[name], settings, seed=seed)
                write_json(file, asdict(outcome(data, LEARNED[name], trained, seed=seed)))
            outcomes[name].append(Outcome(**read_json(file)))
            if name in GRIDS:
                frames.append(_points(pd.read_csv(points), name, outcomes[name][-1]))
            done += cost[name]
            progress(done, all_trainings)
    data = next(iter(datasets.values()))
    about = {
        "command": command,
        "molecules": len(data.table.smiles),
        "split": data.split.sizes(),
        "settings": asdict(settings),
        "versions": versions(),
    }
    write_figure_1(folder, pd.concat(frames, ignore_index=True), outcomes, about)


def write_figure_1(
    folder: Path, points: pd.DataFrame, outcomes: Mapping[str, Sequence[Outcome]], about: Mapping[str, object]
) -> None:
    """`points.csv`, `learned.csv`, `findings.json`, `findings.md` and the two landscapes.

    Args:
        folder: where to.
        points: columns grid, seed, one per λ, val_rmse, test_rmse (of winners only), seconds.
        outcomes: of grids (the winner) and learned λ, by name, one per seed.
        about: data, settings and command.
    """
    names = pairs(TASKS)
    learned = pd.DataFrame(
        [
            {"method": name, "seed": each.seed}
            | dict(zip(names, _symmetric(each.lambda_), strict=True))
            | {"val_rmse": np.mean(each.val_rmse), "test_rmse": np.mean(each.test_rmse), "seconds": each.wall_s}
            for name in LEARNED
            for each in outcomes[name]
        ]
    )
    facts = findings(points, learned, names)
    write_csv(folder / "points.csv", points)
    write_csv(folder / "learned.csv", learned)
    write_json(folder / "findings.json", {**about, **facts})
    with replacing(folder / "findings.md") as file:
        file.write(f"{paragraph(facts)}\n".encode())
    paths = [(name, np.array([_symmetric(m) for m in each.trajectory])) for name in LEARNED for each in outcomes[name]]
    for name in GRIDS:
        with replacing(folder / f"{name}.html") as file:
            file.write(_landscape(points[points["grid"] == name], names, paths).encode())


def _landscape(points: pd.DataFrame, names: Sequence[str], paths: Sequence[tuple[str, NDArray[np.float64]]]) -> str:
    """A page with the mean over the seeds at each point; every seed's level is set to their common mean."""
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


def _points(frame: pd.DataFrame, grid: str, winner: Outcome) -> pd.DataFrame:
    """Rows of `points.csv` of one grid and seed."""
    best = frame.index == frame["val_rmse"].idxmin()
    test = np.where(best, np.mean(winner.test_rmse), np.nan)
    kept = frame[["seed", *pairs(TASKS), "val_rmse"]].assign(test_rmse=test, seconds=frame["wall_s"])
    kept.insert(0, "grid", grid)
    return kept


def _symmetric(lambda_: Sequence[Sequence[float]]) -> list[float]:
    """The mean of both directions of each pair."""
    return [(lambda_[t][s] + lambda_[s][t]) / 2 for t, s in combinations(range(len(TASKS)), 2)]
