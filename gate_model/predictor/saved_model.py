"""A trained model as two files: tensors in safetensors, everything else in JSON. Nothing is pickled."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from bilevel_hpo.run_folder import RunError, read_json, replacing, write_json
from gate_model.data.inputs import Featurizer
from gate_model.data.molecules.features import FeatureScaler
from gate_model.data.molecules.similarity import UNLIKE, packed_fingerprints
from gate_model.data.prepared import PreparedData, Standardizer
from gate_model.data.tasks import Task
from gate_model.model.embeddings import embedding_named
from gate_model.model.gate import GATE
from gate_model.model.network import build_gate
from gate_model.model.settings import NetworkSettings
from gate_model.predictor.intervals import Intervals
from gate_model.predictor.uncertainty import Spread
from gate_model.training.settings import Settings

__all__ = ["ALONE", "CHOICE", "JOINED", "Column", "OwnColumns", "SavedModel", "load_model", "model_of", "save_model"]

ALONE, JOINED, CHOICE = "alone", "joined", "choice.json"
"""In the folder of `gate learn --with chemicals`: a folder for each of two models, and which of them predicts what."""
FORMAT, _FORMAT_1 = "gate-model 2", "gate-model 1"
_KEYS = ("settings", "tasks", "n_features", "members", "seeds", "spread", "unlike", "tensors_sha256")


@dataclass(frozen=True, eq=False)
class SavedModel:
    """All that a prediction needs."""

    tasks: tuple[Task, ...]
    settings: Settings
    seeds: tuple[int, ...]
    """Of the members."""
    members: tuple[GATE, ...]
    """Trained on one split from different seeds; predictions are their mean."""
    standardizer: Standardizer
    featurizer: Featurizer
    spread: Spread
    """How the uncertainty is computed, calibrated on the selection molecules."""
    fingerprints: NDArray[np.uint8]
    """Of the training molecules, packed, `[N, 256]`."""
    unlike: float
    """A molecule less similar to every training molecule than this is flagged."""
    smiles: tuple[str, ...] | None = None
    """Of the training molecules, `[N]`; None for a model that an earlier version saved."""
    intervals: Intervals | None = None
    """Calibrated on the selection molecules; None for a model that an earlier version saved."""
    own: "OwnColumns | None" = None
    """Set where a user's columns are predicted, some of them by another model; None: this model predicts all tasks."""

    @property
    def columns(self) -> tuple["Column", ...]:
        """What is predicted, and by which model."""
        if self.own is None:
            return tuple(Column(task, self, place) for place, task in enumerate(self.tasks))
        columns = []
        for name in self.own.names:
            model = self.own.alone if name in self.own.by_alone else self
            place = next(place for place, task in enumerate(model.tasks) if task.abbreviation == name)
            columns.append(Column(model.tasks[place], model, place))
        return tuple(columns)


@dataclass(frozen=True, eq=False)
class OwnColumns:
    """The columns of a user's file beside public properties, each predicted by the better of two models."""

    names: tuple[str, ...]
    """All of them: what is predicted."""
    by_alone: tuple[str, ...]
    """Those of them that `alone` predicts; the model that holds this record predicts the others."""
    alone: SavedModel
    """Trained on the user's file alone."""


@dataclass(frozen=True, eq=False)
class Column:
    """A task that is predicted."""

    task: Task
    model: SavedModel
    """That predicts it."""
    place: int
    """Of the task among those of `model`."""

    def factor(self, coverage: float) -> float | None:
        """Half the width of the interval in units of σ, see `Intervals.factors`; None for a model without intervals."""
        intervals = self.model.intervals
        return None if intervals is None else float(intervals.factors(coverage)[self.place])


def model_of(data: PreparedData, settings: Settings, members: Mapping[int, GATE]) -> SavedModel:
    """A finished training, ready to be saved: calibrated, with the fingerprints of the molecules it was trained on.

    Args:
        data: what it was trained on. Validation molecules count as training molecules: the exchange trains on them.
        settings: hyperparameters.
        members: models by their seed.
    """
    seen = np.concatenate([data.split.train, data.split.validation])
    smiles = tuple(data.table.smiles[row] for row in seen)
    x, labels = data.some(data.split.selection)
    models = tuple(members.values())
    spread = Spread.calibrated(models, x, labels)
    return SavedModel(
        tasks=data.table.tasks,
        settings=settings,
        seeds=tuple(members),
        members=models,
        standardizer=data.standardizer,
        featurizer=data.featurizer,
        spread=spread,
        fingerprints=packed_fingerprints(smiles),
        unlike=UNLIKE,
        smiles=smiles,
        intervals=Intervals.calibrated(*spread.predict(models, x), labels),
    )


def save_model(folder: Path, model: SavedModel) -> None:
    """Write `model.safetensors`, then `model.json`, which holds the checksum of the first.

    A model with `own` is written as two, into the folders `joined` and `alone`, and `choice.json` beside them.
    """
    if model.own is not None:
        save_model(folder / JOINED, replace(model, own=None))
        save_model(folder / ALONE, model.own.alone)
        choice = {name: ALONE if name in model.own.by_alone else JOINED for name in model.own.names}
        write_json(folder / CHOICE, choice)
        return
    tensors: dict[str, Tensor] = {
        f"members.{number}.{name}": tensor.detach().cpu().contiguous()
        for number, member in enumerate(model.members)
        for name, tensor in member.state_dict().items()
    }
    arrays: dict[str, NDArray[Any]] = {"fingerprints": model.fingerprints}
    arrays |= {f"standardizer.{name}": array for name, array in model.standardizer.to_dict().items()}
    arrays |= {f"scaler.{name}": array for name, array in model.featurizer.scaler.to_dict().items()}
    if model.smiles is not None:
        arrays["smiles"] = np.frombuffer("\n".join(model.smiles).encode(), np.uint8).copy()
    if model.intervals is not None:
        arrays |= {f"intervals.{name}": array for name, array in model.intervals.to_dict().items()}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    content = save_tensors(tensors, {"format": FORMAT})
    with replacing(folder / "model.safetensors") as file:
        file.write(content)
    facts = {
        "format": FORMAT,
        "tasks": [asdict(task) for task in model.tasks],
        "settings": asdict(model.settings),
        "n_features": model.featurizer.width,
        "members": len(model.members),
        "seeds": list(model.seeds),
        "spread": model.spread.to_dict(),
        "unlike": model.unlike,
        "tensors_sha256": hashlib.sha256(content).hexdigest(),
    }
    write_json(folder / "model.json", facts)


def load_model(folder: Path | str) -> SavedModel:
    """The model of a `gate learn` folder, its members in eval mode.

    Raises:
        RunError: a file is missing, damaged or not ours; the message names it.
    """
    folder = Path(folder)
    if (folder / "jobs").is_dir() or (folder / "study.journal").exists():
        raise RunError(f"{folder} is the folder of a comparison or search; a folder of `gate learn` is wanted")
    if (folder / CHOICE).exists():
        return _chosen(folder)
    facts = _facts(folder / "model.json")
    path = folder / "model.safetensors"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); it belongs beside model.json") from error
    if hashlib.sha256(content).hexdigest() != facts["tensors_sha256"]:
        raise RunError(f"{path} is damaged, or does not belong to the model.json beside it: the checksum differs")
    try:
        tensors = load_tensors(content)
        return _assembled(facts, tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(
            f"{folder}: model.json and model.safetensors make no model: {str(error).splitlines()[0]}"
        ) from error


def _chosen(folder: Path) -> SavedModel:
    """The model of a folder of `gate learn --with chemicals`."""
    choice, joined, alone = read_json(folder / CHOICE), load_model(folder / JOINED), load_model(folder / ALONE)
    known = {task.abbreviation for task in joined.tasks} & {task.abbreviation for task in alone.tasks}
    if not isinstance(choice, dict) or not choice or set(choice.values()) - {ALONE, JOINED} or set(choice) - known:
        raise RunError(
            f"{folder / CHOICE} is damaged: it must name for each column of the file which model predicts it, "
            f"{ALONE!r} or {JOINED!r}"
        )
    by_alone = tuple(name for name, model in choice.items() if model == ALONE)
    return replace(joined, own=OwnColumns(tuple(choice), by_alone, alone))


def _facts(path: Path) -> dict[str, Any]:
    facts = read_json(path)
    if isinstance(facts, dict) and facts.get("format") == _FORMAT_1:
        facts = _from_format_1(facts)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
        raise RunError(f"{path} is no model of this program: format is {found!r}, wanted is {FORMAT!r}")
    missing = [key for key in _KEYS if key not in facts]
    if missing:
        raise RunError(f"{path} is damaged: it lacks {', '.join(missing)}")
    return facts


def _from_format_1(facts: dict[str, Any]) -> dict[str, Any]:
    """The sizes of the network stood among the settings of the training."""
    flat = dict(facts["settings"])
    network = {field.name: flat.pop(field.name) for field in fields(NetworkSettings) if field.name in flat}
    return {**facts, "format": FORMAT, "settings": {**flat, "network": network}}


def _assembled(facts: dict[str, Any], tensors: dict[str, Tensor]) -> SavedModel:
    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

    tasks = tuple(Task(**task) for task in facts["tasks"])
    settings = Settings.from_dict(facts["settings"])
    scaler = FeatureScaler.from_dict({name: t.numpy() for name, t in part("scaler.").items()})
    members = []
    for number in range(facts["members"]):
        member = build_gate(facts["n_features"], len(tasks), settings.network)
        member.load_state_dict(part(f"members.{number}."))
        members.append(member.eval())
    intervals = {name: t.numpy() for name, t in part("intervals.").items()}
    fingerprints = tensors["fingerprints"].numpy()
    smiles = tuple(tensors["smiles"].numpy().tobytes().decode().split("\n")) if "smiles" in tensors else None
    if smiles is not None and len(smiles) != len(fingerprints):
        raise ValueError(f"{len(smiles)} SMILES and {len(fingerprints)} fingerprints of training molecules")
    return SavedModel(
        tasks=tasks,
        settings=settings,
        seeds=tuple(facts["seeds"]),
        members=tuple(members),
        standardizer=Standardizer.from_dict({name: t.numpy() for name, t in part("standardizer.").items()}),
        featurizer=Featurizer(embedding_named(settings.network.embedding).reads, scaler, settings.network.depth),
        spread=Spread.from_dict(facts["spread"]),
        fingerprints=fingerprints,
        unlike=float(facts["unlike"]),
        smiles=smiles,
        intervals=Intervals.from_dict(intervals) if intervals else None,
    )
