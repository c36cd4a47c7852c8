"""Predictions for the molecules of a CSV, a chunk at a time: a file may have more rows than fit in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bilevel_hpo.run_folder import replacing
from gate_model.data.files.molecule_file import MoleculeFile, Row
from gate_model.data.inputs import Rows
from gate_model.data.molecules.features import Array, compute_features
from gate_model.data.molecules.similarity import nearest, packed_fingerprints
from gate_model.predictor.headers import NEAREST, PROBLEM, SIMILARITY, UNLIKE, Headers, headers
from gate_model.predictor.intervals import COVERAGE
from gate_model.predictor.rounding import rounded
from gate_model.predictor.saved_model import SavedModel

__all__ = ["CHUNK", "Predicted", "predict_file", "predict_molecules"]

CHUNK = 5_000
"""Rows at a time."""
_BATCH = 256
"""Molecules that the network takes at a time."""


@dataclass(frozen=True)
class Predicted:
    """What became of a file."""

    rows: int
    unread: int
    """Rows without a readable molecule."""
    unlike: int
    """Molecules unlike the training molecules."""


def predict_molecules(model: SavedModel, smiles: Sequence[str], *, coverage: float = COVERAGE) -> pd.DataFrame:
    """One row per molecule, in full precision.

    For each task the value, its σ (`±`) and the ends of its interval (`low`, `high`), all in the unit of the task's
    labels; then the similarity to the training molecule most like it, that molecule's SMILES, and whether the
    similarity is too low to trust the numbers.

    An end is infinite where the task has too few selection labels. A model saved by an earlier version has no
    intervals, and no SMILES of training molecules: it gives no columns `low` and `high`, and names no molecule.

    Where two models predict the columns of a user's file (`SavedModel.own`), there are only these columns, and the
    training molecules are those of the model that has fewer.

    Args:
        model: from `load_model`.
        smiles: readable SMILES.
        coverage: share of the labels that lie inside their interval, above 0 and below 1.
    """
    columns: dict[str, object] = {}
    factors, raw = [column.factor(coverage) for column in model.columns], compute_features(smiles)
    found = {each: _predicted(each, smiles, raw) for each in {column.model: None for column in model.columns}}
    for column, names, factor in zip(model.columns, _headers(model), factors, strict=True):
        value, width = (values[:, column.place] for values in found[column.model])
        columns[names.value], columns[names.sigma] = value, width
        if factor is not None:
            half = factor * width
            columns[names.low], columns[names.high] = value - half, value + half
    least = min(found, key=lambda each: len(each.fingerprints))
    similarity, rows = nearest(packed_fingerprints(smiles), least.fingerprints)
    columns[SIMILARITY] = similarity
    columns[NEAREST] = _named(smiles, rows, least.smiles)
    columns[UNLIKE] = np.where(similarity < least.unlike, "yes", "")
    return pd.DataFrame(columns)


def predict_file(
    model: SavedModel,
    file: Path,
    out: Path,
    *,
    smiles_column: str | None = None,
    coverage: float = COVERAGE,
    chunk: int = CHUNK,
    progress: Callable[[int, int], object] = lambda done, rows: None,
) -> Predicted:
    """Write `out`: row (line of `file`), smiles, the columns of `predict_molecules`, problem (empty if none).

    Every row of `file` has its row in `out`. Numbers have the digits that σ justifies (`rounding`). `out` appears when
    it is complete.

    Args:
        model: from `load_model`.
        file: CSV with a SMILES column.
        out: CSV.
        smiles_column: its name; found by itself when left out.
        coverage: of the intervals, above 0 and below 1.
        chunk: rows at a time; memory grows with it, and not with the file.
        progress: called with (rows done, rows).
    """
    source = MoleculeFile(file, smiles_column)
    rows, done, unread, unlike = source.count(), 0, 0, 0
    with replacing(out) as target:
        for part in source.chunks(chunk):
            frame = _frame(model, part, coverage)
            target.write(frame.to_csv(index=False, header=done == 0).encode())
            done += len(part)
            unread += int(frame[PROBLEM].ne("").sum())
            unlike += int(frame[UNLIKE].eq("yes").sum())
            progress(done, rows)
    return Predicted(rows, unread, unlike)


def _frame(model: SavedModel, rows: list[Row], coverage: float) -> pd.DataFrame:
    good = [row.canonical for row in rows if row.canonical is not None]
    predicted = rounded(predict_molecules(model, good, coverage=coverage), _headers(model))
    predicted = predicted.set_axis([i for i, row in enumerate(rows) if row.canonical is not None])
    frame = pd.DataFrame({"row": [row.line for row in rows], "smiles": [row.smiles for row in rows]})
    return frame.join(predicted).assign(**{PROBLEM: [row.problem for row in rows]})


def _headers(model: SavedModel) -> list[Headers]:
    return headers([column.task for column in model.columns])


def _named(smiles: Sequence[str], rows: Sequence[NDArray[np.int64]], known: tuple[str, ...] | None) -> list[str]:
    """One nearest training molecule for each molecule; empty for a model without their SMILES.

    Args:
        smiles: of the molecules.
        rows: for each, the training molecules that are equally near.
        known: SMILES of the training molecules.
    """
    if known is None:
        return [""] * len(smiles)
    return [_most_like(own, [known[row] for row in near]) for own, near in zip(smiles, rows, strict=True)]


def _most_like(own: str, near: Sequence[str]) -> str:
    """Of homologues with one fingerprint: the molecule itself, otherwise the one whose SMILES is closest in length."""
    return min(near, key=lambda other: (other != own, abs(len(other) - len(own))))


def _predicted(model: SavedModel, smiles: Sequence[str], raw: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and σ in the units of the labels, each `[N, T]`; `raw` are the features of the molecules.

    Every batch has the same number of molecules, the last one repeats its last: the last bits of a product of matrices
    depend on its size, and a prediction must not depend on the molecules beside it.
    """
    if not smiles:
        return np.zeros((0, len(model.tasks))), np.zeros((0, len(model.tasks)))
    x = model.featurizer(smiles, raw, keep=False)
    parts = []
    for start in range(0, len(smiles), _BATCH):
        rows = torch.arange(start, start + _BATCH).clamp(max=len(smiles) - 1)
        parts.append(model.spread.predict(model.members, Rows(x, rows)))
    mean, sigma = (np.concatenate(both)[: len(smiles)] for both in zip(*parts, strict=True))
    return model.standardizer.inverse(mean), sigma * model.standardizer.std
