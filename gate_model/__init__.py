"""GATE: multi-task molecular property regression with learned transfer ratios.

Each name is imported when it is first used, so `import gate_model` loads neither torch nor RDKit.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gate_model.data.chemicals.table import load_chemicals
    from gate_model.data.files.join import load_joined
    from gate_model.data.files.user_csv import read_csv
    from gate_model.data.prepared import prepare
    from gate_model.data.request import DataRequest
    from gate_model.data.table import DataError
    from gate_model.model.embeddings import register as register_embedding
    from gate_model.model.settings import NetworkSettings
    from gate_model.predictor.prediction import predict_file, predict_molecules
    from gate_model.predictor.saved_model import SavedModel, load_model, model_of, save_model
    from gate_model.training.checkpoints import Checkpoints
    from gate_model.training.methods import LEARNED, Method, constant
    from gate_model.training.settings import Settings, settings_for
    from gate_model.training.train import train, train_population

    __version__: str

__all__ = [
    "LEARNED",
    "Checkpoints",
    "DataError",
    "DataRequest",
    "Method",
    "NetworkSettings",
    "SavedModel",
    "Settings",
    "__version__",
    "constant",
    "load_chemicals",
    "load_joined",
    "load_model",
    "model_of",
    "predict_file",
    "predict_molecules",
    "prepare",
    "read_csv",
    "register_embedding",
    "save_model",
    "settings_for",
    "train",
    "train_population",
]

_MODULES = {
    "data.chemicals.table": ("load_chemicals",),
    "data.files.join": ("load_joined",),
    "data.files.user_csv": ("read_csv",),
    "data.prepared": ("prepare",),
    "data.request": ("DataRequest",),
    "data.table": ("DataError",),
    "model.settings": ("NetworkSettings",),
    "predictor.prediction": ("predict_file", "predict_molecules"),
    "predictor.saved_model": ("SavedModel", "load_model", "model_of", "save_model"),
    "training.checkpoints": ("Checkpoints",),
    "training.methods": ("LEARNED", "Method", "constant"),
    "training.settings": ("Settings", "settings_for"),
    "training.train": ("train", "train_population"),
}
_PLACES = {name: (module, name) for module, names in _MODULES.items() for name in names}
_PLACES["register_embedding"] = ("model.embeddings", "register")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("bilevel-hpo")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own = _PLACES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), own)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
