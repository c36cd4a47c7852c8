"""The state of a long training on disk, every few minutes, so that a crash at any moment costs only those minutes."""

import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from bilevel_hpo.run_folder import RunError, replacing

__all__ = ["Checkpoints"]


class Checkpoints:
    """`path`, and beside it the checkpoint before, which is used if the newest turns out to be damaged.

    A checkpoint is written to a temporary file, flushed to the disk, and only then takes its name: a crash while
    writing leaves the last good one in place. Taken between epochs, it lets a resumed training equal an uninterrupted
    one to the bit. Read with `weights_only=True`: nothing is unpickled.

    Args:
        path: of the newest checkpoint.
        minutes: at least this long between two checkpoints; 0 for one after every epoch.
    """

    def __init__(self, path: Path, minutes: float = 5.0) -> None:
        if not minutes >= 0:
            raise ValueError(f"minutes={minutes}: the minutes between two checkpoints must be 0 or more")
        self.path, self.minutes = path, minutes
        self.previous = path.with_name(f"{path.stem}.previous{path.suffix}")
        self._last = time.monotonic()

    def due(self) -> bool:
        """Is it time for the next one?"""
        return time.monotonic() - self._last >= 60 * self.minutes

    def save(self, state: dict[str, Any]) -> None:
        """Tensors, numbers and strings."""
        with replacing(self.path, keep=self.previous) as file:
            torch.save(state, file)
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole; None if there is no checkpoint.

        Warns if the newest is damaged and the one before is used; RunError if none can be read.
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
                warnings.warn(f"{problems[0]}; going on from the one before, {path}", stacklevel=2)
            return state
        if problems:
            raise RunError("; ".join(problems) + ". Remove the run folder to start anew")
        return None


def _read(path: Path) -> dict[str, Any]:
    """The state, if the file is whole; torch itself does not look at the checksums of its zip files."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of {damaged} differs")
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return state
