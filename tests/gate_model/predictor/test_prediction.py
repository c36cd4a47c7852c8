"""Saved models, their uncertainty, similarity to the training molecules, predictions for files of any length."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rdkit import Chem
from safetensors.torch import load_file, save_file

from bilevel_hpo.run_folder import RunError
from gate_model.data.molecules.similarity import packed_fingerprints
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.table import DataError
from gate_model.model.evaluation import predict, rmse
from gate_model.predictor.intervals import Intervals
from gate_model.predictor.prediction import predict_file, predict_molecules
from gate_model.predictor.remarks import remarks
from gate_model.predictor.saved_model import SavedModel, load_model, model_of, save_model
from gate_model.predictor.uncertainty import Spread, calibrate, member_spread, path_spread, transferred
from gate_model.training.methods import LEARNED
from gate_model.training.settings import Settings, settings_for
from gate_model.training.train import train

SMILES = ["CCO", "c1ccccc1C(=O)O", "CCCCCCN", "CC(C)=O", "[Si](C)(C)(C)C#C"]
UNITS = (("DS", "g/cm3"), ("HV", "kJ/mol"), ("BP", "K"))


@pytest.fixture(scope="module")
def saved(small_data: PreparedData) -> SavedModel:
    settings = Settings(epochs=4)
    members = {seed: train(small_data, LEARNED["budget"], settings, seed=seed).model for seed in (0, 1)}
    return model_of(small_data, settings, members)


@pytest.fixture
def folder(saved: SavedModel, tmp_path: Path) -> Path:
    save_model(tmp_path, saved)
    return tmp_path


def test_a_model_on_graphs_trains_and_predicts_new_molecules_as_before_it_was_saved(
    small_data: PreparedData, tmp_path: Path
) -> None:
    graph = settings_for("graph")
    network = replace(graph.network, embedding_hidden=24, depth=2, d=16)
    settings = replace(graph, epochs=25, lr=4e-3, network=network)
    data = prepare(small_data.table, seed=0, reads="graphs", depth=2)
    trained = train(data, LEARNED["budget"], settings, seed=0)
    x, labels = data.some(data.split.selection)
    assert rmse(predict(trained.model, x), labels).mean() < 0.7, "predicting the mean has an RMSE of about 1"
    save_model(tmp_path, model_of(data, settings, {0: trained.model}))
    rows = data.split.test[:20]
    want = data.standardizer.inverse(predict(trained.model, data.some(rows)[0]))
    found = predict_molecules(load_model(tmp_path), [data.table.smiles[row] for row in rows])
    np.testing.assert_allclose(found[["DS [g/cm3]", "HV [kJ/mol]", "BP [K]"]], want, rtol=1e-4)


def test_a_model_comes_back_as_it_was(saved: SavedModel, folder: Path) -> None:
    loaded = load_model(folder)
    assert (loaded.tasks, loaded.settings, loaded.spread) == (saved.tasks, saved.settings, saved.spread)
    assert np.array_equal(loaded.fingerprints, saved.fingerprints)
    assert loaded.smiles == saved.smiles
    assert loaded.intervals is not None
    assert saved.intervals is not None
    for of_task, before in zip(loaded.intervals.scores, saved.intervals.scores, strict=True):
        assert np.array_equal(of_task, before)
    pd.testing.assert_frame_equal(predict_molecules(loaded, SMILES), predict_molecules(saved, SMILES), check_exact=True)


def test_a_model_of_the_first_format_is_read(saved: SavedModel, folder: Path) -> None:
    """There the sizes of the network stood among the settings of the training."""
    facts = json.loads((folder / "model.json").read_text())
    network = facts["settings"].pop("network")
    facts |= {"format": "gate-model 1", "settings": facts["settings"] | network}
    (folder / "model.json").write_text(json.dumps(facts))
    loaded = load_model(folder)
    assert loaded.settings == saved.settings
    pd.testing.assert_frame_equal(predict_molecules(loaded, SMILES), predict_molecules(saved, SMILES), check_exact=True)


def test_a_model_without_intervals_and_smiles_is_read(saved: SavedModel, tmp_path: Path) -> None:
    """As earlier versions saved it."""
    save_model(tmp_path, replace(saved, intervals=None, smiles=None))
    assert {"smiles", "intervals.scores"}.isdisjoint(load_file(tmp_path / "model.safetensors"))
    loaded = load_model(tmp_path)
    found, now = predict_molecules(loaded, SMILES), predict_molecules(saved, SMILES)
    assert [name for name in now if name not in found] == [f"{t} {e} [{u}]" for t, u in UNITS for e in ("low", "high")]
    assert (found["nearest training molecule"] == "").all()
    same = found.columns.drop("nearest training molecule")
    pd.testing.assert_frame_equal(found[same], now[same], check_exact=True)
    assert "train it again" in "".join(remarks(loaded, 0.9))
    (tmp_path / "in.csv").write_text("smiles\nCCO\n")
    predict_file(loaded, tmp_path / "in.csv", tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["nearest training molecule"].isna().all()


def test_damaged_and_foreign_files_are_named(folder: Path) -> None:
    whole, facts = (folder / "model.safetensors").read_bytes(), json.loads((folder / "model.json").read_text())

    def refused(message: str) -> None:
        with pytest.raises(RunError, match=message):
            load_model(folder)

    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (whole[:100], b"", bytes(flipped)):
        (folder / "model.safetensors").write_bytes(damaged)
        refused(r"model\.safetensors is damaged.*checksum")
    tensors = {name: tensor for name, tensor in load_file_bytes(whole, folder).items() if name != "fingerprints"}
    save_file(tensors, folder / "model.safetensors")

    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(facts | {"tensors_sha256": digest}))
    refused("make no model.*fingerprints")
    tensors = load_file_bytes(whole, folder) | {"smiles": torch.tensor(list(b"C\nCC"), dtype=torch.uint8)}
    save_file(tensors, folder / "model.safetensors")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(facts | {"tensors_sha256": digest}))
    refused("make no model.*2 SMILES and 320 fingerprints")
    (folder / "model.safetensors").unlink()
    refused(r"model\.safetensors cannot be read")
    for content, message in (
        (json.dumps(facts | {"format": "other"}), "no model of this program: format is 'other'"),
        (json.dumps([1]), "no model of this program"),
        (json.dumps({key: value for key, value in facts.items() if key != "tasks"}), "lacks tasks"),
        ("{", r"model\.json is damaged"),
    ):
        (folder / "model.json").write_text(content)
        refused(message)
    (folder / "model.json").unlink()
    refused(r"model\.json is missing")
    (folder / "jobs").mkdir()
    refused("a folder of `gate learn` is wanted")


def load_file_bytes(content: bytes, folder: Path) -> dict[str, torch.Tensor]:
    (folder / "whole.safetensors").write_bytes(content)
    return load_file(folder / "whole.safetensors")


def test_transferred_paths_are_those_of_the_paper(saved: SavedModel, small_data: PreparedData) -> None:
    """ŷ_{s→t} = h_t(ψ_t(φ_s(encoder_s(z)))), one task and source at a time."""
    model, x = saved.members[0].eval(), small_data.molecules.x[:7]
    paths, direct = transferred(model, x, batch_size=3), predict(model, x)
    with torch.no_grad():
        z = model.embedding(x)
        for t in range(3):
            for s in range(3):
                points = z.expand(3, -1, -1)
                m_s = model.phi(model.encoder(points))[s]
                y = model.head(model.psi(m_s.expand(3, -1, -1)))[t, :, 0]
                np.testing.assert_allclose(paths[:, t, s], y.numpy(), atol=1e-5)
            others = [s for s in range(3) if s != t]
            by_hand = np.sqrt(((paths[:, t, others] - direct[:, [t]]) ** 2).mean(1))
            np.testing.assert_allclose(path_spread(direct, paths)[:, t], by_hand)
    assert member_spread(np.array([[[1.0]], [[4.0]]])) == pytest.approx(np.sqrt(4.5))


def test_calibration_finds_the_scale_and_tells_a_spread_that_says_nothing() -> None:
    rng = np.random.default_rng(0)
    spread = rng.gamma(2.0, 0.1, 20_000)
    slope, floor = calibrate(spread, rng.normal(0, 3 * spread))
    assert np.sqrt(slope) == pytest.approx(3, rel=0.03)
    assert floor < 0.01 * slope * (spread**2).mean()
    slope, floor = calibrate(spread, rng.normal(0, 0.5, 20_000))
    assert slope * (spread**2).mean() < 0.1 * floor
    assert floor == pytest.approx(0.25, rel=0.1)
    slope, floor = calibrate(spread, rng.normal(0, np.sqrt(4 * spread**2 + 0.1)))
    assert (slope, floor) == pytest.approx((4, 0.1), rel=0.15)
    assert calibrate(np.zeros(4), np.array([1.0, -1.0, 1.0, -1.0])) == (0.0, 1.0)


def test_sigma_is_calibrated_on_the_selection_molecules(saved: SavedModel, small_data: PreparedData) -> None:
    x, labels = small_data.some(small_data.split.selection)
    for members in (saved.members, saved.members[:1]):
        spread = Spread.calibrated(members, x, labels)
        mean, sigma = spread.predict(members, x)
        assert (sigma > 0).all()
        np.testing.assert_allclose(np.nanmean(((mean - labels) / sigma) ** 2, axis=0), 1, rtol=0.02)


def test_a_file_in_chunks_gives_what_it_gives_in_one(saved: SavedModel, tmp_path: Path) -> None:
    rows = [*SMILES, "nonsense", "", *SMILES[:2]]
    content = "﻿id;SMILES\n" + "".join(f"{i};{s}\n" + ("\n" if i == 2 else "") for i, s in enumerate(rows))
    (tmp_path / "in.csv").write_text(content, encoding="utf-8")
    seen: list[tuple[int, int]] = []
    found = predict_file(
        saved,
        tmp_path / "in.csv",
        tmp_path / "parts.csv",
        chunk=2,
        progress=lambda done, rows: seen.append((done, rows)),
    )
    predict_file(saved, tmp_path / "in.csv", tmp_path / "whole.csv")
    assert seen == [(2, 9), (4, 9), (6, 9), (8, 9), (9, 9)]
    assert (found.rows, found.unread) == (9, 2)
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    table = pd.read_csv(tmp_path / "parts.csv")
    assert list(table["row"]) == [2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert list(table["problem"].fillna("")[5:7]) == ["RDKit cannot read this SMILES", "no SMILES"]
    assert table["BP [K]"].isna().tolist() == [False] * 5 + [True, True, False, False]
    expected = predict_molecules(saved, [Chem.CanonSmiles(s) for s in SMILES])
    for task, unit in UNITS:
        sigma = expected[f"{task} ± [{unit}]"]
        for name in (f"{task} [{unit}]", f"{task} ± [{unit}]", f"{task} low [{unit}]", f"{task} high [{unit}]"):
            assert (np.abs(table[name][:5] - expected[name]) <= 0.1 * sigma).all(), "the second digit of σ is kept"
    assert list(table["nearest training molecule"][:5]) == list(expected["nearest training molecule"])
    assert found.unlike == expected["unlike training"].eq("yes").sum() + expected["unlike training"][:2].eq("yes").sum()


def test_a_prediction_does_not_depend_on_the_molecules_beside_it(saved: SavedModel, small_data: PreparedData) -> None:
    """To the bit, for features; graphs of a batch are summed together."""
    smiles = [small_data.table.smiles[row] for row in range(300)]
    whole = predict_molecules(saved, smiles)
    for size in (1, 7, 256):
        part = slice(290, 290 + size)
        found = predict_molecules(saved, smiles[part]).set_axis(whole.index[part])
        pd.testing.assert_frame_equal(found, whole[part], check_exact=True)


def test_intervals_hold_their_share_of_the_selection_molecules(saved: SavedModel, small_data: PreparedData) -> None:
    """On the molecules that calibrated them the count is exact: ⌈(n + 1)·coverage⌉ labels of n are inside."""
    rows = small_data.split.selection
    smiles, labels = [small_data.table.smiles[row] for row in rows], small_data.table.labels[rows]
    for coverage in (0.5, 0.9):
        found = predict_molecules(saved, smiles, coverage=coverage)
        for column, (task, unit) in enumerate(UNITS):
            low, high = (found[f"{task} {end} [{unit}]"] for end in ("low", "high"))
            value, slack = found[f"{task} [{unit}]"], 1e-5 * (high - low)
            inside = (low - slack <= labels[:, column]) & (labels[:, column] <= high + slack)
            assert inside.sum() == np.ceil((len(rows) + 1) * coverage)
            np.testing.assert_allclose(value, (low + high) / 2)


def test_the_nearest_training_molecule_is_named(saved: SavedModel, small_data: PreparedData) -> None:
    trained = [small_data.table.smiles[row] for row in small_data.split.train[:20]]
    found = predict_molecules(saved, trained)
    assert list(found["nearest training molecule"]) == trained, "among homologues the molecule itself"
    assert (found["similarity"] == 1).all()
    chains = tuple("C" * n + "O" for n in (9, 12, 16))
    few = replace(saved, smiles=chains, fingerprints=packed_fingerprints(chains))
    found = predict_molecules(few, ["CCCCCCCCCCCCCO", "CCO"])
    assert found["nearest training molecule"][0] == chains[1], "of equally similar ones the closest in length"
    assert found["similarity"][1] < 1


def test_columns_of_a_user_called_like_ours_keep_their_predictions(saved: SavedModel, tmp_path: Path) -> None:
    names = ("problem", "unlike training", "similarity")
    tasks = tuple(replace(task, abbreviation=name, unit="") for task, name in zip(saved.tasks, names, strict=True))
    model = replace(saved, tasks=tasks)
    (tmp_path / "in.csv").write_text("smiles\nCCO\nnonsense\n")
    done = predict_file(model, tmp_path / "in.csv", tmp_path / "out.csv")
    assert (done.rows, done.unread) == (2, 1)
    header = (tmp_path / "out.csv").read_text().splitlines()[0].split(",")
    assert len({*header}) == len(header)
    table, expected = pd.read_csv(tmp_path / "out.csv"), predict_molecules(saved, ["CCO"])
    for name, (task, unit) in zip(names, UNITS, strict=True):
        sigma = expected[f"{task} ± [{unit}]"][0]
        assert table[f"{name} (task)"][0] == pytest.approx(expected[f"{task} [{unit}]"][0], abs=0.1 * sigma)
    assert table["problem"].tolist()[1] == "RDKit cannot read this SMILES"
    said = list(remarks(model, 0.9))
    assert [line.partition(" here")[0] for line in said] == [
        f"{name!r} of the data is called {name + ' (task)'!r}" for name in names
    ]


def test_an_unbounded_interval_is_said(saved: SavedModel, tmp_path: Path) -> None:
    assert list(remarks(saved, 0.9)) == []
    assert saved.intervals is not None
    few = Intervals((saved.intervals.scores[0][:8], *saved.intervals.scores[1:]))
    model = replace(saved, intervals=few)
    (said,) = remarks(model, 0.9)
    assert "0.9 of the labels inside needs 9 selection labels" in said
    assert said.endswith("fewer are there for DS [g/cm3] (8)")
    assert list(remarks(model, 0.8)) == []
    (tmp_path / "in.csv").write_text("smiles\nCCO\n")
    predict_file(model, tmp_path / "in.csv", tmp_path / "out.csv")
    row = (tmp_path / "out.csv").read_text().splitlines()[1].split(",")
    assert row[4:6] == ["-inf", "inf"]
    assert np.isfinite([float(cell) for cell in row[6:14]]).all()


def test_a_file_that_breaks_off_leaves_nothing_behind(saved: SavedModel, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("smiles\nCCO\nCC,1\n")
    (tmp_path / "out.csv").write_text("from before")
    with pytest.raises(DataError, match=r"in\.csv, line 3: 2 cells"):
        predict_file(saved, tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "from before"
    for content, message in (("", "it is empty"), ("smiles\n", "no row below the header"), ("a,b\n1,2\n", "smiles")):
        (tmp_path / "in.csv").write_text(content)
        with pytest.raises(DataError, match=message):
            predict_file(saved, tmp_path / "in.csv", tmp_path / "out.csv")
    with pytest.raises(DataError, match="no such file"):
        predict_file(saved, tmp_path / "none.csv", tmp_path / "out.csv")
