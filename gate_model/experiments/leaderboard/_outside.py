"""Methods that are not GATE: trees for each task on the same features, and chemprop in a separate environment."""

import importlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate_model.data.molecules.features import features
from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard._answer import Answer, Assignment, Predict, columns

__all__ = ["Chemprop", "Trees", "extra_trees", "imported", "lightgbm"]


def extra_trees(seed: int) -> Any:
    """Return scikit-learn's ExtraTreesRegressor (Geurts and others, 2006) with its default of 100 trees."""
    return imported("sklearn.ensemble").ExtraTreesRegressor(random_state=seed, n_jobs=1)


def lightgbm(seed: int) -> Any:
    """Return LightGBM's regressor (Ke and others, 2017) with its default of 100 trees."""
    return imported("lightgbm").LGBMRegressor(random_state=seed, n_jobs=1, deterministic=True, verbosity=-1)


@dataclass(frozen=True)
class Trees:
    """Trains one model for each task on fingerprints and descriptors of the train and validation molecules.

    It uses both parts because GATE does: molecules are exchanged between them while GATE trains.

    Args:
        model: a function from a seed to a regressor with `fit` and `predict`.
    """

    model: Callable[[int], Any]

    def __call__(self, assignment: Assignment) -> Answer:
        """Train T models; there is nothing to choose."""
        data = assignment.data
        rows = np.concatenate([data.split.train, data.split.validation])
        x, y = _features(data), data.labels[rows]
        models, seconds = [], 0.0
        for column in range(y.shape[1]):
            some, model, started = np.isfinite(y[:, column]), self.model(assignment.seed), time.perf_counter()
            model.fit(x[rows[some]], y[some, column])
            seconds += time.perf_counter() - started
            models.append(model)

        def predict(of: Any) -> Predict:
            return lambda rows: np.asarray(of.predict(x[rows]), dtype=float)[:, None]

        return Answer(columns([predict(model) for model in models]), seconds, training_runs=len(models))


@dataclass(frozen=True)
class Chemprop:
    """Trains chemprop's multi-task D-MPNN with the defaults of its command line, for as many epochs or seconds as GATE.

    It trains on the train molecules and keeps the epoch that is best on the validation molecules, which is chemprop's
    default too.

    Args:
        timed: train for as many seconds as constant λ = 1 did; the number of epochs is chosen to fit. False: train for
            as many epochs as GATE.
    """

    timed: bool = False

    def __call__(self, assignment: Assignment) -> Answer:
        """Train in a new process of the interpreter that has chemprop.

        Raises:
            ValueError: there is no interpreter, or chemprop fails; the message has the end of its error output.
        """
        if assignment.python is None:
            raise ValueError("chemprop needs --python, an interpreter that can import chemprop 2.3")
        data, wanted = assignment.data, np.concatenate([assignment.data.split.selection, assignment.data.split.test])
        question = {
            "smiles": list(data.table.smiles),
            "labels": [[v if np.isfinite(v) else None for v in row] for row in data.labels.tolist()],
            "train": data.split.train.tolist(),
            "validation": data.split.validation.tolist(),
            "predict": wanted.tolist(),
            "epochs": assignment.settings.epochs,
            "seconds": assignment.seconds if self.timed else None,
            "seed": assignment.seed,
        }
        with tempfile.TemporaryDirectory() as folder:
            asked, told = Path(folder, "question.json"), Path(folder, "answer.json")
            asked.write_text(json.dumps(question))
            script = Path(__file__).with_name("chemprop_script.py")
            command = [str(assignment.python), "-P", str(script), str(asked), str(told)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
            if done.returncode:
                raise ValueError(f"chemprop failed: {done.stderr.strip()[-500:]}")
            answer = json.loads(told.read_text())
        place = {int(row): number for number, row in enumerate(wanted)}
        predicted = np.array(answer["predictions"])
        return Answer(lambda rows: predicted[[place[int(row)] for row in rows]], answer["seconds"])


def _features(data: PreparedData) -> NDArray[np.float32]:
    """Return the scaled fingerprints and descriptors of all molecules `[N, F]`, whatever the embedding reads."""
    return data.featurizer.scaler.transform(features(data.table.smiles))


def imported(module: str) -> Any:
    """Import an optional package.

    Raises:
        ValueError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{module} is not installed: pip install 'bilevel-hpo[leaderboard]'") from error
