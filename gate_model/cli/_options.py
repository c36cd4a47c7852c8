"""Options that several commands of `gate` have, each declared once; those that always come together are a record."""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate_model.data.request import DataRequest
from gate_model.training.settings import Settings

if TYPE_CHECKING:
    from gate_model.data.splits import Splitting

__all__ = [
    "CORES",
    "DEFAULT",
    "DEFAULT_VALUES",
    "GRID_VALUES",
    "DaskOption",
    "DataOptions",
    "DeviceOption",
    "EpochsOption",
    "JobOptions",
    "OutOption",
    "Reader",
    "ResumeOption",
    "RunOptions",
    "SeedOption",
    "SeedsOption",
    "SmilesOption",
    "StorageOptions",
    "TableOptions",
    "ValuesOption",
    "WorkersOption",
    "as_numbers",
]

DEFAULT = Settings()
GRID_VALUES = (0.2, 0.6, 1.0)
DEFAULT_VALUES = ",".join(map(str, GRID_VALUES))
CORES = os.cpu_count() or 1
_OF_CHEMICALS = ("DS", "HV", "BP")


class Reader(StrEnum):
    """Embeddings of molecules."""

    fingerprint = "fingerprint"
    graph = "graph"


OutOption = Annotated[Path, typer.Option("--out", help="The run folder; must not hold another run.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")]
SeedOption = Annotated[int, typer.Option(help="Decides split, initial weights and batches.")]
SeedsOption = Annotated[int, typer.Option(min=1, help="Number of seeds; each has its own split.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="Epochs of each training.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Trainings at a time, one thread each.")]
SmilesOption = Annotated[str | None, typer.Option(help="The SMILES column, if it is not called smiles (in any case).")]


def as_numbers(option: str, text: str) -> tuple[float, ...]:
    """Values of λ from "0.2,0.6,1.0"; ValueError naming the option unless they are two or more, different and ≥ 0."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} {text!r}: it must be numbers separated by commas, e.g. 0.2,0.6,1.0") from None
    if len(set(values)) < 2 or len(set(values)) < len(values) or min(values) < 0:
        raise ValueError(f"{option} {text!r}: it must be at least two different numbers, none negative, none twice")
    return values


ValuesOption = Annotated[str, typer.Option(help="Values of each λ, comma-separated.")]


def _is_scheduler(address: str | None) -> str | None:
    """Before any work."""
    if address is None:
        return None
    if not re.fullmatch(r"\w+://.+", address):
        raise typer.BadParameter(
            f"{address!r}: it must be the address of a Dask scheduler, such as tcp://10.0.0.1:8786"
        )
    if find_spec("distributed") is None:
        raise typer.BadParameter("Dask is not installed: pip install 'bilevel-hpo[dask]'")
    return address


DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        callback=_is_scheduler,
        help="Address of a Dask scheduler, tcp://host:8786: train on its workers, not on this machine (--workers is "
        "then ignored).",
    ),
]


def _names(records: Sequence[str]) -> tuple[str, ...]:
    """Names from one or several CSV records, in which quotes protect a comma."""
    try:
        rows = list(csv.reader(records, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"--tasks {' '.join(records)}: it must be names separated by commas ({error})") from error
    return tuple(name.strip() for row in rows for name in row if name.strip())


@dataclass(frozen=True)
class RunOptions:
    """Where a run is kept."""

    out: OutOption
    resume: ResumeOption = False


@dataclass(frozen=True)
class DataOptions:
    """What data a training uses."""

    data: Annotated[str, typer.Option("--data", help="'chemicals', or a CSV file with a SMILES column.")] = "chemicals"
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            help="Abbreviations or column names, comma-separated, or 'all'; \"…\" around a name with a comma. "
            "Default: all of a file; DS,HV,BP of chemicals.",
        ),
    ] = None
    smiles_column: SmilesOption = None
    at_least: Annotated[int, typer.Option(min=1, help="Keep molecules with at least this many labels.")] = 1
    derived: Annotated[
        bool,
        typer.Option("--derived", help="With labels computed from labels of other tasks; they leak between tasks."),
    ] = False
    join: Annotated[
        Path | None,
        typer.Option("--join", help="CSV whose columns (named by abbreviation) and molecules join those of chemicals."),
    ] = None

    def request(self, splitting: "Splitting" = "scaffold", fraction: float = 1.0) -> DataRequest:
        """These data, and how they are split."""
        names = _names(self.tasks or ())
        if not names and self.data == "chemicals" and self.join is None:
            names = self._default()
        return DataRequest(
            data=self.data,
            tasks=None if names in ((), ("all",)) else names,
            smiles_column=self.smiles_column,
            at_least=self.at_least,
            derived=self.derived,
            join=None if self.join is None else str(self.join),
            splitting=splitting,
            fraction=fraction,
        )

    def _default(self) -> tuple[str, ...]:
        return _OF_CHEMICALS


@dataclass(frozen=True)
class TableOptions(DataOptions):
    """What data a table shows: all tasks where none is named."""

    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            help='Abbreviations or column names, comma-separated; "…" around a name with a comma. Default: all.',
        ),
    ] = None

    def _default(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class JobOptions:
    """Where many trainings run."""

    workers: WorkersOption = CORES
    dask: DaskOption = None


@dataclass(frozen=True)
class StorageOptions:
    """How a search goes on."""

    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            envvar="GATE_STORAGE",
            help="Where the Optuna study is kept: a journal file or the URL of a database. Default: a journal "
            "in --out.",
        ),
    ] = None
    prune: Annotated[
        bool, typer.Option("--prune", help="End trainings that are worse than the median of the earlier ones.")
    ] = False
