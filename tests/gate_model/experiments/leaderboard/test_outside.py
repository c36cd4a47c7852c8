"""Trees and chemprop as rivals."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard import _outside
from gate_model.experiments.leaderboard._outside import Chemprop, Trees
from tests.gate_model.leaderboard_cases import assignment


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Mean:
    """Stands for a regressor: predicts the mean of what it was fitted to, plus the sum of a row."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, x: NDArray[np.float32], y: NDArray[np.float64]) -> None:
        assert len(x) == len(y)
        assert np.isfinite(y).all()
        self.mean = y.mean()

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        return self.mean + 0 * x[:, 0]


def test_trees_see_train_and_validation_molecules_with_a_label(small_data: PreparedData) -> None:
    labels = small_data.labels.copy()
    labels[::2, 0] = np.nan
    data = replace(small_data, labels=labels)
    answer = Trees(Mean)(assignment(data))
    seen = np.concatenate([data.split.train, data.split.validation])
    expected = np.tile(np.nanmean(labels[seen], axis=0), (5, 1))
    np.testing.assert_allclose(answer.predict(data.split.test[:5]), expected)
    assert answer.training_runs == 3


def test_trees_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ValueError, match=r"lightgbm is not installed: pip install 'bilevel-hpo\[leaderboard\]'"):
        _outside.lightgbm(0)


def test_chemprop_is_asked_in_another_process(
    small_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the script answers with row number and task, and says what it was given."""
    script = tmp_path / "chemprop_script.py"
    script.write_text(
        "import json, sys\n"
        "q = json.load(open(sys.argv[1]))\n"
        "assert len(q['smiles']) == len(q['labels']) == 400 and q['labels'][0][0] is None\n"
        "assert q['epochs'] == 2 and q['seconds'] is None and not set(q['train']) & set(q['predict'])\n"
        "told = {'predictions': [[r, r + .5, -r] for r in q['predict']], 'seconds': 7.0}\n"
        "json.dump(told, open(sys.argv[2], 'w'))\n"
    )
    monkeypatch.setattr(_outside, "__file__", str(tmp_path / "x.py"))
    labels = small_data.labels.copy()
    labels[0, 0] = np.nan
    asked = replace(assignment(replace(small_data, labels=labels)), python=Path(sys.executable), seconds=3.0)
    answer = Chemprop()(asked)
    rows = small_data.split.test[[2, 0]]
    assert answer.predict(rows).tolist() == [[r, r + 0.5, -r] for r in rows]
    assert answer.seconds == 7.0
    with pytest.raises(ValueError, match=r"chemprop failed: (?s:.*)AssertionError"):
        Chemprop(timed=True)(asked)
    with pytest.raises(ValueError, match="--python"):
        Chemprop()(replace(asked, python=None))
