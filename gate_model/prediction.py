"""A trained model as files (tensors and JSON, nothing pickled), and predictions for a CSV."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gate_model.data.features import FeatureScaler, features
from gate_model.data.prepared import PreparedData
from gate_model.data.scaling import Standardizer
from gate_model.data.user_csv import read_smiles
from gate_model.model import GATE
from gate_model.runs import RunError, read_checkpoint, write_checkpoint
from gate_model.training import Settings, build_model, predict

__all__ = ["predict_file", "save_model"]


def save_model(folder: Path, data: PreparedData, settings: Settings, model: GATE) -> None:
    """`model.pt`: weights, scaling and tasks; read with `weights_only=True`."""
    state = {
        "settings": asdict(settings),
        "tasks": [{"abbreviation": task.abbreviation, "unit": task.unit} for task in data.table.tasks],
        "model": model.state_dict(),
        "standardizer": _tensors(data.standardizer.to_dict()),
        "scaler": _tensors(data.scaler.to_dict()),
    }
    write_checkpoint(folder / "model.pt", state)


def predict_file(run: Path, file: Path, *, smiles_column: str | None = None) -> pd.DataFrame:
    """One row per data row of `file`: row, smiles, one column per task in its own unit, problem (empty if none)."""
    if (run / "jobs").is_dir():
        raise RunError(f"{run} is the folder of a comparison or search; predict needs one of `gate learn`")
    state = read_checkpoint(run / "model.pt")
    scaler = FeatureScaler.from_dict({key: value.numpy() for key, value in state["scaler"].items()})
    standardizer = Standardizer.from_dict({key: value.numpy() for key, value in state["standardizer"].items()})
    rows = read_smiles(file, smiles_column=smiles_column)
    good = rows["canonical"].notna().to_numpy()
    names = [f"{t['abbreviation']} [{t['unit']}]" if t["unit"] else t["abbreviation"] for t in state["tasks"]]
    values = np.full((len(rows), len(names)), np.nan)
    if good.any():
        x = torch.from_numpy(scaler.transform(features(rows.loc[good, "canonical"].tolist())))
        model = build_model(x.shape[1], len(names), Settings(**state["settings"]))
        model.load_state_dict(state["model"])
        values[good] = standardizer.inverse(predict(model, x))
    frame = rows[["row", "smiles"]].copy()
    frame[names] = values
    frame["problem"] = rows["problem"]
    return frame


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(np.asarray(value)) for key, value in arrays.items()}
