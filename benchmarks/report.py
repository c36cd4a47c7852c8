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
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright

from bilevel_hpo.comparison import Answer, Method, Trained, Trial
from gate_model.data.prepared import PreparedData
from gate_model.data.splits import Split
from gate_model.data.table import SET_ASIDE_COLUMNS, PropertyTable
from gate_model.data.tasks import Task
from gate_model.experiments.compare import METHODS, grid_of, single, tpe_of
from gate_model.experiments.record import setting_of, write_run
from gate_model.report import write_report
from gate_model.training.methods import pairs

MOLECULES, EPOCHS = 7000, 30
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


def made_up(rng: np.random.Generator, data: PreparedData, method: Method, names: Sequence[str]) -> Answer:
    """The answer of `method` for one seed; searches go over the λ `names`."""
    T, test, tasks = len(data.abbreviations), data.split.test, data.abbreviations
    learned, searched = method.group == "learned", method.group == "search"
    end = rng.gamma(1.2, 0.2, (T, T)) if learned else np.full((T, T), 0.3)
    np.fill_diagonal(end, 1)
    path = [1 + (end - 1) * (1 - np.exp(-4 * epoch / EPOCHS)) for epoch in range(EPOCHS + 1)] if learned else []
    rmse = 0.28 * rng.uniform(0.7, 1.3, T) * (1 + rng.normal(0, 0.02, T))
    curve = 0.28 + 0.7 * np.exp(-np.arange(1, EPOCHS + 1) / 5) + rng.normal(0, 0.002, EPOCHS)
    predictions = np.nan_to_num(data.table.labels[test]) + rng.normal(0, 3, (len(test), T))
    trained = Trained(
        dict(zip(tasks, rmse.tolist(), strict=True)),
        dict(zip(tasks, rmse.tolist(), strict=True)),
        seconds=90.0,
        cpu_seconds=90.0,
        epochs=EPOCHS,
        lambda_=end.flatten().tolist(),
        trajectory=[step.flatten().tolist() for step in path],
        curve=[
            {"epoch": epoch, "seconds": 3.0 * epoch, "train_loss": value, "selection": value}
            for epoch, value in enumerate(curve.tolist(), start=1)
        ],
        extra={
            "test_units": (12 * rmse).tolist(),
            "rows": test.tolist(),
            "predictions": predictions.tolist(),
        },
    )
    found = trials(rng, method.name, names) if searched else []
    runs = len(found) or 1
    return Answer(trained, runs, 90.0 * runs, 90.0 * runs, EPOCHS * runs, found)


def trials(rng: np.random.Generator, kind: str, names: Sequence[str]) -> list[Trial]:
    points = grid(len(names)) if kind == "grid" else rng.beta(1, 2.5, (500, len(names)))
    values = 0.28 + 0.004 * points.mean(axis=1) + rng.normal(0, 0.0004, len(points))
    return [
        Trial(dict(zip(names, point, strict=True)), value, 90.0)
        for point, value in zip(points.tolist(), values.tolist(), strict=True)
    ]


def grid(number: int) -> NDArray[np.float64]:
    """500 points, or 512 of three λ."""
    axis = np.linspace(0, 1, 500 if number == 1 else 8)
    return np.stack(np.meshgrid(*[axis] * number), -1).reshape(-1, number)


def make(folder: Path, T: int, seeds: Sequence[int]) -> dict[str, int]:
    rng = np.random.default_rng(0)
    tasks = [Task(f"T{i:02d}", f"made-up property number {i}", "kJ/mol", "tabulated") for i in range(T)]
    datasets = {seed: data(rng, tasks) for seed in seeds}
    abbreviations, shared = [task.abbreviation for task in tasks], T != 3
    names = ["all"] if shared else pairs(abbreviations)
    searches = [grid_of((0.0, 1.0), shared=shared), tpe_of((0.0, 1.0), 500, shared=shared)]
    methods: list[Method] = [*map(single, METHODS), *searches]
    answers = {(method.name, seed): made_up(rng, datasets[seed], method, names) for method in methods for seed in seeds}
    setting = setting_of(folder, abbreviations, {})
    write_run(folder, "comparison", datasets, methods, answers, setting, command="gate compare --tasks all")
    number = sum(len(answer.trials) for answer in answers.values())
    return {"tasks": T, "learned_lambda": T * (T - 1), "seeds": len(seeds), "trials": number}


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
