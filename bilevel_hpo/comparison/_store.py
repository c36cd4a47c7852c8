"""Store every finished training in a small file with a checksum."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bilevel_hpo.comparison._jobs import Job, Trained
from bilevel_hpo.run_folder import RunError, differences, read_json, write_json

__all__ = ["Store", "read_trained"]


class Store:
    """The finished trainings of one method.

    Args:
        folder: the folder of the files.
        method: the description of the method in JSON; a training of another method is refused.
    """

    def __init__(self, folder: Path, method: Any) -> None:
        self._folder, self._method = folder, json.loads(json.dumps(method))

    def read(self, job: Job) -> Trained | None:
        """Returns the record of a finished training.

        Raises:
            RunError: its file is damaged, or belongs to another λ or version.
        """
        path = self._path(job)
        if not path.exists():
            return None
        asked, trained = _read(path)
        if asked != self._asked(job):
            different = "; ".join(differences("", asked, self._asked(job)))
            raise RunError(f"{path} belongs to another training: {different}. Choose another folder for a new run")
        return trained

    def write(self, job: Job, trained: Trained) -> None:
        """Writes a record atomically."""
        plain, asked = _without_nan(asdict(trained)), self._asked(job)
        write_json(self._path(job), {"job": asked, "trained": plain, "sha256": _sum(plain, asked)})

    def _asked(self, job: Job) -> Any:
        return json.loads(json.dumps(asdict(job))) | {"method": self._method}

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.name}.json"


def read_trained(folder: Path, method: str, seed: int, number: int = 0) -> Trained:
    """Reads the record of one training in the `jobs` folder of a comparison.

    Raises:
        RunError: the file is missing or damaged.
    """
    return _read(folder / f"{Job(method, seed, number, None, test=True).name}.json")[1]


def _read(path: Path) -> tuple[Any, Trained]:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("sha256") != _sum(content.get("trained"), content.get("job")):
        raise RunError(f"{path} is damaged: its content does not have the checksum it was written with; delete it")
    if content["trained"].keys() != {field.name for field in fields(Trained)}:
        raise RunError(f"{path} was written by another version; repeat the run in another folder")
    return content["job"], Trained(**_with_nan(content["trained"]))


_SCORES = ("selection", "test")


def _sum(trained: Any, job: Any) -> str:
    return hashlib.sha256(json.dumps([job, trained], sort_keys=True).encode()).hexdigest()


def _without_nan(x: Any) -> Any:
    """Replaces NaN and infinity, which JSON lacks, by null."""
    if isinstance(x, Mapping):
        return {str(key): _without_nan(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [_without_nan(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def _with_nan(trained: dict[str, Any]) -> dict[str, Any]:
    """Puts NaN for missing numbers in the scores and the rows of the curve."""
    back: dict[str, Any] = {name: _numbers(trained[name]) for name in _SCORES}
    back |= {"curve": [_numbers(row) for row in trained["curve"]]}
    return trained | back | {"reports": {int(epoch): loss for epoch, loss in trained["reports"].items()}}


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in row.items()}
