"""The options that several commands of `gate` share, each declared once.

Options that always come together are the fields of one dataclass; see `gate_model.cli._records.with_records`.
"""

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
    """The embeddings that turn a molecule into a vector."""

    fingerprint = "fingerprint"
    graph = "graph"


OutOption = Annotated[Path, typer.Option("--out", help="Folder for the results. It must be new, unless you resume.")]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume", help="Continue the run in --out where it stopped, with the same options."),
]
SeedOption = Annotated[int, typer.Option(help="Random seed. It sets the split, the initial weights and the batches.")]
SeedsOption = Annotated[
    int, typer.Option(min=1, help="Number of seeds. Each has its own split; more seeds show how far results scatter.")
]
EpochsOption = Annotated[
    int, typer.Option(min=1, help="Number of passes over the training molecules in each training.")
]
DeviceOption = Annotated[
    str, typer.Option(help="Where to train: cpu, cuda or cuda:1. auto takes the GPU if there is one.")
]
WorkersOption = Annotated[
    int, typer.Option(min=1, help="Number of trainings that run at the same time, each in one thread.")
]
SmilesOption = Annotated[
    str | None, typer.Option(help="Name of the SMILES column. Needed only if no column is called smiles (in any case).")
]


def as_numbers(option: str, text: str) -> tuple[float, ...]:
    """Return the values of λ in a text such as "0.2,0.6,1.0".

    Raises:
        ValueError: there are fewer than two values, two are equal, or one is negative; the message names the option.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} {text!r}: it must be numbers separated by commas, e.g. 0.2,0.6,1.0") from None
    if len(set(values)) < 2 or len(set(values)) < len(values) or min(values) < 0:
        raise ValueError(f"{option} {text!r}: it must be at least two different numbers, none negative, none twice")
    return values


ValuesOption = Annotated[str, typer.Option(help="Values of each λ on the grid, at least 0, separated by commas.")]


def _is_scheduler(address: str | None) -> str | None:
    """Check the address before any work begins, and return it."""
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
        help="Address of a Dask scheduler, such as tcp://host:8786. The trainings then run on its workers, and "
        "--workers is ignored.",
    ),
]


def _names(records: Sequence[str]) -> tuple[str, ...]:
    """Return the names in one or several CSV records. A name with a comma must be in double quotes."""
    try:
        rows = list(csv.reader(records, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"--tasks {' '.join(records)}: it must be names separated by commas ({error})") from error
    return tuple(name.strip() for row in rows for name in row if name.strip())


@dataclass(frozen=True)
class RunOptions:
    """The folder of a run, and whether the run continues."""

    out: OutOption
    resume: ResumeOption = False


@dataclass(frozen=True)
class DataOptions:
    """The data that a training uses."""

    data: Annotated[
        str,
        typer.Option("--data", help="chemicals (the built-in table), or the path of a CSV file with a SMILES column."),
    ] = "chemicals"
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            help='Properties to predict: abbreviations or column names separated by commas, or all. Put "…" around a '
            "name with a comma. Default: DS,HV,BP for chemicals, all columns for a file.",
        ),
    ] = None
    smiles_column: SmilesOption = None
    at_least: Annotated[int, typer.Option(min=1, help="Leave out molecules with fewer labels among these tasks.")] = 1
    derived: Annotated[
        bool,
        typer.Option(
            "--derived",
            help="Add labels that are computed from labels of other tasks. What transfers between such tasks is only "
            "the arithmetic.",
        ),
    ] = False
    join: Annotated[
        Path | None,
        typer.Option(
            "--join",
            help="CSV file that adds molecules and tasks (columns named by abbreviation) to chemicals. Where both have "
            "a label, the file's is used.",
        ),
    ] = None

    def request(self, splitting: "Splitting" = "scaffold", fraction: float = 1.0) -> DataRequest:
        """Return a request for these data, split in this way."""
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
    """The data of a table. It has all tasks unless some are named."""

    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            help='Properties in the table: abbreviations or column names separated by commas. Put "…" around a name '
            "with a comma. Default: all.",
        ),
    ] = None

    def _default(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True)
class JobOptions:
    """Where the trainings run when there are many."""

    workers: WorkersOption = CORES
    dask: DaskOption = None


@dataclass(frozen=True)
class StorageOptions:
    """Where a search keeps its trials, and whether it stops bad trainings early."""

    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            envvar="GATE_STORAGE",
            help="Where the Optuna study is stored: the path of a journal file, or the URL of a database. Default: a "
            "journal file in --out.",
        ),
    ] = None
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Stop a training early when its RMSE is worse than the median of the earlier ones."
        ),
    ] = False
