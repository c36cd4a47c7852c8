"""Predictions for the molecules of a CSV, a chunk at a time: a file may have more rows than fit in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bilevel_hpo.run_folder import replacing
from gate_model.data.files.molecule_file import MoleculeFile, Row
from gate_model.data.molecules.features import compute_features
from gate_model.data.molecules.similarity import nearest, packed_fingerprints
from gate_model.data.tasks import Task
from gate_model.predictor.saved_model import SavedModel

__all__ = ["CHUNK", "Predicted", "predict_file", "predict_molecules", "title"]

CHUNK = 5_000
"""Rows at a time."""


@dataclass(frozen=True)
class Predicted:
    """What became of a file."""

    rows: int
    unread: int
    """Rows without a readable molecule."""
    unlike: int
    """Molecules unlike the training molecules."""


def title(task: Task, sign: str = "") -> str:
    """A column's header: `BP [K]`, `BP ± [K]`, `VP [log10 Pa]`; no brackets where the unit is unknown."""
    name = f"{task.abbreviation} {sign}".rstrip()
    unit = f"log10 {task.unit}".rstrip() if task.transform == "log10" and "log10" not in task.unit else task.unit
    return f"{name} [{unit}]" if unit else name


def predict_molecules(model: SavedModel, smiles: Sequence[str]) -> pd.DataFrame:
    """One row per molecule: for each task the value and its σ (`±`), both in the unit of the task's labels; then the
    similarity to the training molecule most like it, and whether that is too low to trust the numbers.

    Args:
        model: from `load_model`.
        smiles: readable SMILES.
    """
    columns: dict[str, object] = {}
    x = model.featurizer(smiles, compute_features(smiles), keep=False)
    mean, sigma = model.spread.predict(model.members, x)
    values, widths = model.standardizer.inverse(mean), sigma * model.standardizer.std
    for number, task in enumerate(model.tasks):
        columns[title(task)], columns[title(task, "±")] = values[:, number], widths[:, number]
    columns["similarity"] = similarity = nearest(packed_fingerprints(smiles), model.fingerprints)
    columns["unlike training"] = np.where(similarity < model.unlike, "yes", "")
    return pd.DataFrame(columns)


def predict_file(
    model: SavedModel,
    file: Path,
    out: Path,
    *,
    smiles_column: str | None = None,
    chunk: int = CHUNK,
    progress: Callable[[int, int], object] = lambda done, rows: None,
) -> Predicted:
    """Write `out`: row (line of `file`), smiles, the columns of `predict_molecules`, problem (empty if none).

    Every row of `file` has its row in `out`. `out` appears when it is complete.

    Args:
        model: from `load_model`.
        file: CSV with a SMILES column.
        out: CSV.
        smiles_column: its name; found by itself when left out.
        chunk: rows at a time; memory grows with it, and not with the file.
        progress: called with (rows done, rows).
    """
    source = MoleculeFile(file, smiles_column)
    rows, done, unread, unlike = source.count(), 0, 0, 0
    with replacing(out) as target:
        for part in source.chunks(chunk):
            frame = _frame(model, part)
            target.write(frame.to_csv(index=False, header=done == 0).encode())
            done += len(part)
            unread += int(frame["problem"].ne("").sum())
            unlike += int(frame["unlike training"].eq("yes").sum())
            progress(done, rows)
    return Predicted(rows, unread, unlike)


def _frame(model: SavedModel, rows: list[Row]) -> pd.DataFrame:
    good = [row.canonical for row in rows if row.canonical is not None]
    predicted = predict_molecules(model, good).set_axis([i for i, row in enumerate(rows) if row.canonical is not None])
    frame = pd.DataFrame({"row": [row.line for row in rows], "smiles": [row.smiles for row in rows]})
    return frame.join(predicted).assign(problem=[row.problem for row in rows])
