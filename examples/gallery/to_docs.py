"""What docs/gallery.md shows, from the folders of the four comparisons.

    python examples/gallery/to_docs.py runs/auxiliary_tasks runs/wrong_labels runs/trusted_sources \\
        runs/many_regularisers

prints a table for each, writes their scores to docs/results/gallery.json, and one figure of each report to a picture.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from auxiliary_tasks import GROUPS

from bilevel_hpo import plots
from bilevel_hpo.plots import LandscapeFacts
from bilevel_hpo.report import report_facts

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = {
    "wrong_labels": "differences",
    "trusted_sources": "lambda-learned",
    "many_regularisers": "differences",
}
"""Figure of the report, by the name of the folder; of auxiliary_tasks, the landscape of the grid."""


def scores(folder: Path) -> dict[str, Any]:
    """Test scores by method and seed, cost, and the interval of the difference to the learned method."""
    facts = report_facts(folder)
    learned = facts.method("learned")
    assert learned is not None
    rows = {}
    for method in facts.ranked:
        against = None if method is learned else facts.difference(learned, method)
        rows[method.name] = {
            "title": method.title,
            "test": [round(float(score), 5) for score in method.by_seed],
            "mean": round(method.score, 5),
            "std": round(method.std, 5),
            "trainings": method.training_runs,
            "seconds": round(method.wall_s, 2),
        }
        if against is not None:
            rows[method.name]["learned minus it"] = [
                round(x, 5) for x in (against.difference, against.low, against.high)
            ]
    return {"metric": facts.metric.name, "command": f"python examples/gallery/{folder.name}.py", "methods": rows}


def landscape(folder: Path) -> go.Figure:
    """The grid over three groups of auxiliary tasks, and the ways of the learned λ: the mean of each group."""
    groups = {label: name for name, labels in GROUPS.items() for label in labels}
    trials = pd.read_csv(folder / "trials-grid.csv")
    grid = trials.groupby(list(GROUPS))["selection"].mean().reset_index()
    history = pd.read_csv(folder / "weights_history.csv").query("method == 'learned'")
    history["group"] = history["label"].map(groups)
    ways = history.pivot_table(index=["seed", "epoch"], columns="group", values="lambda")[list(GROUPS)]
    facts = LandscapeFacts.from_frame(
        grid,
        list(GROUPS),
        value="selection",
        learned=[way for _, way in ways.groupby("seed")],
        maximize=True,
        objective="accuracy",
    )
    return plots.landscape(facts)


def of_page(folder: Path, name: str) -> go.Figure:
    """A figure of the report."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    figures = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert figures is not None
    drawn = json.loads(figures[1])[name]
    return go.Figure(data=drawn["data"], layout=drawn["layout"])


def picture(folder: Path) -> Path:
    """What docs/gallery.md shows of it, as PNG."""
    name = PICTURES.get(folder.name)
    figure = landscape(folder) if name is None else of_page(folder, name)
    stem = DOCS / f"gallery-{folder.name.replace('_', '-')}"
    return plots.export(figure.update_layout(width=760, height=420), pd.DataFrame(), stem, formats=["png"])[0]


def table(found: dict[str, Any]) -> str:
    """In Markdown."""
    lines = [f"| λ | test {found['metric']} | learned minus it | trainings | seconds |", "|---|---|---|---|---|"]
    for name, row in found["methods"].items():
        gap = row.get("learned minus it")
        said = "" if gap is None else "{:+.3g} ({:+.3g} to {:+.3g})".format(*gap)
        lines.append(
            f"| {name} | {row['mean']:.4g} ± {row['std']:.2g} | {said} | {row['trainings']} | {row['seconds']:.2g} |"
        )
    return "\n".join(lines)


def main(folders: list[Path]) -> None:
    """Tables, scores, pictures."""
    results = DOCS / "results" / "gallery.json"
    known = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    for folder in folders:
        known[folder.name] = scores(folder)
        print(f"{folder.name}\n\n{table(known[folder.name])}\n")
        print(picture(folder))
    results.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="of the comparisons, called as their scripts")
    main(parser.parse_args().folders)
