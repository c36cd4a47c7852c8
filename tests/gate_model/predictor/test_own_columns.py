"""A model of two networks: saved, loaded, and each column of the file predicted by the chosen one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bilevel_hpo.run_folder import RunError
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.splits import Split
from gate_model.data.table import SET_ASIDE_COLUMNS, PropertyTable
from gate_model.data.tasks import Task
from gate_model.model.network import build_gate
from gate_model.predictor.prediction import predict_file, predict_molecules
from gate_model.predictor.saved_model import OwnColumns, SavedModel, load_model, model_of, save_model
from gate_model.training.settings import Settings

A, B, PUBLIC = Task("a", "a", "K"), Task("b", "b", ""), Task("VS", "viscosity", "log10(mPa.s)", transform="log10")
QUERIES = ["CCCCO", "CCN", "c1ccccc1"]


def untrained(data: PreparedData, seed: int) -> SavedModel:
    torch.manual_seed(seed)
    settings = Settings()
    return model_of(
        data, settings, {seed: build_gate(data.featurizer.width, len(data.abbreviations), settings.network)}
    )


def prepared(end: str, n: int, *tasks: Task) -> PreparedData:
    smiles = tuple("C" * length + end for length in range(1, n + 1))
    labels = np.random.default_rng(len(tasks)).normal(size=(n, len(tasks)))
    aside = pd.DataFrame(columns=list(SET_ASIDE_COLUMNS))
    split = Split(np.arange(14, n), np.arange(0, 4), np.arange(4, 9), np.arange(9, 14))
    return prepare(PropertyTable(tasks, smiles, labels, aside, "x"), seed=0, split=split)


@pytest.fixture(scope="module")
def both() -> tuple[SavedModel, SavedModel]:
    """Of the file alone, alcohols with a and b; joined: amines with a public property too."""
    return untrained(prepared("O", 40, A, B), 1), untrained(prepared("N", 50, PUBLIC, A, B), 2)


@pytest.mark.parametrize("by_alone", [(), ("b",), ("a", "b")])
def test_every_column_is_predicted_by_the_chosen_model(
    by_alone: tuple[str, ...], both: tuple[SavedModel, SavedModel], tmp_path: Path
) -> None:
    alone, joined = both
    save_model(tmp_path, replace(joined, own=OwnColumns(("a", "b"), by_alone, alone)))
    loaded = load_model(tmp_path)
    assert loaded.own is not None
    assert loaded.own.by_alone == by_alone
    found, by = predict_molecules(loaded, QUERIES), {True: predict_molecules(alone, QUERIES)}
    by[False] = predict_molecules(joined, QUERIES)
    assert not [header for header in map(str, found) if header.startswith("VS")]
    for name, header in (("a", "a [K]"), ("a", "a ± [K]"), ("b", "b"), ("b", "b ±")):
        assert np.array_equal(found[header], by[name in by_alone][header])
        assert not np.array_equal(by[True][header], by[False][header])
    assert np.array_equal(found["similarity"], by[bool(by_alone)]["similarity"])
    assert not np.array_equal(by[True]["similarity"], by[False]["similarity"])


def test_each_model_is_a_folder_of_its_own(both: tuple[SavedModel, SavedModel], tmp_path: Path) -> None:
    alone, joined = both
    save_model(tmp_path, replace(joined, own=OwnColumns(("a", "b"), ("a",), alone)))
    for model, folder in ((alone, "alone"), (joined, "joined")):
        expected = predict_molecules(model, QUERIES)
        pd.testing.assert_frame_equal(predict_molecules(load_model(tmp_path / folder), QUERIES), expected)
    assert json.loads((tmp_path / "choice.json").read_text()) == {"a": "alone", "b": "joined"}


def test_a_file_is_predicted_row_by_row(both: tuple[SavedModel, SavedModel], tmp_path: Path) -> None:
    model = replace(both[1], own=OwnColumns(("a", "b"), ("a",), both[0]))
    (tmp_path / "new.csv").write_text("smiles\nCCCCO\nnonsense\nCCN\n")
    predict_file(model, tmp_path / "new.csv", tmp_path / "out.csv", chunk=2)
    found = pd.read_csv(tmp_path / "out.csv")
    assert list(found["problem"].fillna("")) == ["", "RDKit cannot read this SMILES", ""]
    assert found.loc[[0, 2], "a [K]"].to_numpy() == pytest.approx(
        predict_molecules(both[0], ["CCCCO", "CCN"])["a [K]"].to_numpy(), abs=0.006
    )


@pytest.mark.parametrize("content", ['{"a": "both"}', "[]", "{}", '{"VS": "joined"}'])
def test_a_damaged_choice_is_named(content: str, both: tuple[SavedModel, SavedModel], tmp_path: Path) -> None:
    save_model(tmp_path, replace(both[1], own=OwnColumns(("a", "b"), ("a",), both[0])))
    (tmp_path / "choice.json").write_text(content)
    with pytest.raises(RunError, match=r"choice\.json is damaged"):
        load_model(tmp_path)
