"""Checkpoints: the state of a long training is saved every few minutes, so that a crash loses only those minutes."""

import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from bilevel_hpo.run_folder import RunError, replacing

__all__ = ["Checkpoints"]


class Checkpoints:
    """The newest checkpoint at `path`, and the one before it, which is used if the newest is damaged.

    A checkpoint is written to a temporary file, flushed to the disk, and then renamed: a crash during the writing
    leaves the last good checkpoint in place. Checkpoints are taken between epochs, so that a resumed training gives the
    same bits as an uninterrupted one. They are read with `weights_only=True`: nothing is unpickled.

    Args:
        path: path of the newest checkpoint.
        minutes: shortest time between two checkpoints, at least 0; 0 means one after every epoch.

    Raises:
        ValueError: `minutes` is negative.
    """

    def __init__(self, path: Path, minutes: float = 5.0) -> None:
        if not minutes >= 0:
            raise ValueError(f"minutes={minutes}: the minutes between two checkpoints must be 0 or more")
        self.path, self.minutes = path, minutes
        self.previous = path.with_name(f"{path.stem}.previous{path.suffix}")
        self._last = time.monotonic()

    def due(self) -> bool:
        """Return whether it is time for the next checkpoint."""
        return time.monotonic() - self._last >= 60 * self.minutes

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; `state` must hold only tensors, numbers, strings, and lists and dicts of them."""
        with replacing(self.path, keep=self.previous) as file:
            torch.save(state, file)
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Return the newest state that is complete, or None if there is no checkpoint.

        Warns if the newest checkpoint is damaged and the one before it is used.

        Raises:
            RunError: there are checkpoints, but none can be read.
        """
        problems = []
        for path in (self.path, self.previous):
            if not path.exists():
                continue
            try:
                state = _read(path)
            except Exception as error:  # torch raises whatever its readers raise
                problems.append(f"{path} is not a readable checkpoint: {str(error).splitlines()[0]}")
                continue
            if problems:
                warnings.warn(f"{problems[0]}; continuing from the checkpoint before it, {path}", stacklevel=2)
            return state
        if problems:
            raise RunError("; ".join(problems) + ". Remove the run folder to start again")
        return None


def _read(path: Path) -> dict[str, Any]:
    """Return the state in the file. The checksums of the zip file are compared first, which torch does not do."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of {damaged} differs")
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return state
