"""The files of a run folder: written whole or not at all, read without unpickling."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

__all__ = [
    "RunError",
    "open_folder",
    "read_checkpoint",
    "read_json",
    "versions",
    "write_checkpoint",
    "write_csv",
    "write_json",
]


class RunError(ValueError):
    """A run folder that cannot be used; the message names the file and what is wanted."""


def open_folder(folder: Path, config: dict[str, Any], *, resume: bool) -> None:
    """Make `folder` ready for a run with `config`, and write `config.json`.

    An existing run is continued only with `resume` and only if its configuration is the same.
    """
    path = folder / "config.json"
    if path.exists():
        before, now = read_json(path), json.loads(json.dumps(config))
        if not resume:
            raise RunError(f"{folder} holds a run already; add --resume to go on with it, or choose another --out")
        different = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if different:
            what = "; ".join(f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in different)
            raise RunError(f"{path}: --resume needs the same configuration, but {what}")
        return
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty and holds no run (no config.json); choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, config)


def write_json(path: Path, content: Any) -> None:
    """Indented JSON, replaced in one step."""
    _replace(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def read_json(path: Path) -> Any:
    """The content; RunError naming the file if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: is {path.parent} a run folder?") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from error


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Floats in full precision, replaced in one step."""
    _replace(path, frame.to_csv(index=False).encode())


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Tensors, numbers and strings; the file before stays valid until the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state, loaded with `weights_only=True`; RunError naming the file if it is missing or damaged."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: is {path.parent} the folder of a finished `gate learn`?") from error
    except Exception as error:
        raise RunError(f"{path} is not a readable checkpoint: {str(error).splitlines()[0]}") from error
    return state


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    packages = ["bilevel-hpo", "torch", "higher", "optuna", "rdkit", "chemicals", "numpy"]
    return {package: version(package) for package in packages} | {"python": platform.python_version()}


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
