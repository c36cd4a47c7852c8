"""How large is the report of a large comparison, and how soon does a browser show its first figure?

Two made-up run folders in the real format (written by the function that writes a real one):

- `many`: 40 tasks, 1,560 learned λ in 30 epochs, 3 seeds, grid and TPE of 500 trials each and seed over one λ for all
  pairs, 7,000 molecules with a quarter of the labels.
- `few`: 3 tasks, grid and TPE of 500 trials each over three symmetric λ, one seed.

Measured: time to write the page from the files, its size, and in headless Chromium the seconds from the start of
loading to the first frame with a drawn figure (median of several openings, each in a new browser context), and to a
page whose figures have all been scrolled by and drawn. Needs playwright and a Chromium (`--browser PATH`). The last
line is JSON.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright

from gate_model.data.prepared import PreparedData
from gate_model.data.splits import Split
from gate_model.data.table import SET_ASIDE_COLUMNS, PropertyTable
from gate_model.data.tasks import Task
from gate_model.experiments.outcome import Outcome, write_outcomes
from gate_model.methods import SHARED
from gate_model.report import write_report

MOLECULES, EPOCHS = 7000, 30
METHODS = {
    "budget": "learned: one-step hypergradient on a budget",
    "direct": "learned: Direct, algorithm 3 as published",
    "lambda=1": "constant λ = 1 (GATE)",
    "lambda=0": "constant λ = 0 (no transfer, the control)",
    "grid": "grid search",
    "tpe": "TPE search",
}
FIRST_FIGURE = """
const seen = () => document.querySelector(".main-svg")
  ? requestAnimationFrame(() => { window.firstFigure = performance.now(); })
  : requestAnimationFrame(seen);
requestAnimationFrame(seen);
"""
SCROLL = """async () => {
    for (const place of document.querySelectorAll("[data-figure]")) {
        place.scrollIntoView({ behavior: "instant" });
        await new Promise((then) => setTimeout(then, 20));
    }
}"""
ALL_DRAWN = "() => [...document.querySelectorAll('[data-figure]')].every((place) => place.querySelector('.main-svg'))"


def data(rng: np.random.Generator, tasks: Sequence[Task]) -> PreparedData:
    labels = rng.normal(50, 12, (MOLECULES, len(tasks)))
    labels[rng.random(labels.shape) > (0.25 if len(tasks) > 3 else 1)] = np.nan
    # Made-up names of the length that canonical SMILES have.
    smiles = tuple("C" * int(n) + f"(O){i}" for i, n in enumerate(rng.integers(5, 40, MOLECULES)))
    table = PropertyTable(tuple(tasks), smiles, labels, pd.DataFrame(columns=[*SET_ASIDE_COLUMNS]), "made up")
    order = rng.permutation(MOLECULES)
    parts = np.split(order, (np.array([0.7, 0.8, 0.9]) * MOLECULES).astype(int))
    unused = cast(Any, None)  # the files are written from table and split alone
    return PreparedData(table, unused, unused, Split(*map(np.sort, parts)), unused, unused)


def made_up(rng: np.random.Generator, data: PreparedData, name: str, seed: int) -> Outcome:
    T, test = len(data.abbreviations), data.split.test
    learned, searched = name in ("budget", "direct"), name in ("grid", "tpe")
    end = rng.gamma(1.2, 0.2, (T, T)) if learned else np.full((T, T), 0.3)
    np.fill_diagonal(end, 1)
    path = [1 + (end - 1) * (1 - np.exp(-4 * epoch / EPOCHS)) for epoch in range(EPOCHS + 1)] if learned else []
    rmse = 0.28 * rng.uniform(0.7, 1.3, T) * (1 + rng.normal(0, 0.02, T))
    curve = 0.28 + 0.7 * np.exp(-np.arange(1, EPOCHS + 1) / 5) + rng.normal(0, 0.002, EPOCHS)
    epochs = [
        {"epoch": epoch, "seconds": 3.0 * epoch, "train_loss": value, "selection": value}
        for epoch, value in enumerate(curve.tolist(), start=1)
    ]
    predictions = np.nan_to_num(data.table.labels[test]) + rng.normal(0, 3, (len(test), T))
    return Outcome(
        method=name,
        title=METHODS[name],
        learned=learned,
        seed=seed,
        lambda_=end.tolist(),
        test_rmse=rmse.tolist(),
        test_rmse_units=(12 * rmse).tolist(),
        val_rmse=rmse.tolist(),
        wall_s=90.0 * (500 if searched else 1),
        training_runs=500 if searched else 1,
        history=[] if searched else epochs,
        trajectory=[step.tolist() for step in path],
        test_rows=test.tolist(),
        test_predictions=predictions.tolist(),
    )


def trials(rng: np.random.Generator, names: Sequence[str], seeds: Sequence[int]) -> pd.DataFrame:
    frames = []
    for kind in ("grid", "tpe"):
        for seed in seeds:
            points = grid(len(names)) if kind == "grid" else rng.beta(1, 2.5, (500, len(names)))
            value = 0.28 + 0.004 * points.mean(axis=1) + rng.normal(0, 0.0004, len(points))
            frame = pd.DataFrame(points, columns=list(names)).assign(val_rmse=value, wall_s=90.0)
            frame.insert(0, "trial", range(len(points)))
            frame.insert(0, "seed", seed)
            frame.insert(0, "method", kind)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def grid(number: int) -> NDArray[np.float64]:
    """500 points, or 512 of three λ."""
    axis = np.linspace(0, 1, 500 if number == 1 else 8)
    return np.stack(np.meshgrid(*[axis] * number), -1).reshape(-1, number)


def make(folder: Path, T: int, seeds: Sequence[int]) -> dict[str, int]:
    rng = np.random.default_rng(0)
    tasks = [Task(f"T{i:02d}", f"made-up property number {i}", "kJ/mol", "tabulated") for i in range(T)]
    datasets = {seed: data(rng, tasks) for seed in seeds}
    names = [f"{a}|{b}" for a, b in combinations([task.abbreviation for task in tasks], 2)] if T == 3 else [SHARED]
    searched = trials(rng, names, seeds)
    write_outcomes(
        folder,
        "comparison",
        datasets,
        [made_up(rng, datasets[seed], name, seed) for name in METHODS for seed in seeds],
        command="gate compare --tasks all",
        trials=searched,
        parameters=names,
    )
    return {"tasks": T, "learned_lambda": T * (T - 1), "seeds": len(seeds), "trials": len(searched)}


def measure(folder: Path, browser: Any, openings: int) -> dict[str, Any]:
    start = time.perf_counter()
    path = write_report(folder)
    wrote = time.perf_counter() - start
    first, errors = [], []
    for _ in range(openings):
        page = browser.new_context(viewport={"width": 1150, "height": 900}).new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.add_init_script(FIRST_FIGURE)
        start = time.perf_counter()
        page.goto(path.resolve().as_uri())
        page.wait_for_function("() => window.firstFigure")
        first.append(page.evaluate("window.firstFigure") / 1000)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        page.evaluate(SCROLL)
        page.wait_for_function(ALL_DRAWN)
        complete = time.perf_counter() - start
        number = page.locator("[data-figure]").count()
        page.context.close()
    return {
        "write_s": round(wrote, 2),
        "size_MB": round(path.stat().st_size / 1e6, 2),
        "first_figure_s": round(statistics.median(first), 2),
        "first_figure_s_each": [round(value, 2) for value in first],
        "figures": number,
        "all_drawn_s": round(complete, 1),
        "console_errors": errors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--openings", type=int, default=5)
    arguments = parser.parse_args()
    flags = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
    found: dict[str, Any] = {}
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=arguments.browser, args=flags)
        for name, T, seeds in (("many", 40, (0, 1, 2)), ("few", 3, (0,))):
            size = make(Path(scratch) / name, T, seeds)
            found[name] = size | measure(Path(scratch) / name, browser, arguments.openings)
            print(f"{name}: {found[name]}")
        found["versions"] = {"chromium": browser.version, "plotly": version("plotly")}
        browser.close()
    print(json.dumps({"benchmark": "report"} | found))


if __name__ == "__main__":
    main()
