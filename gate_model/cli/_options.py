"""Options that several commands of `gate` have."""

import os
import re
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from gate_model.experiments.compare import GRID_VALUES
from gate_model.training.settings import Settings

__all__ = [
    "CORES",
    "DEFAULT",
    "DEFAULT_VALUES",
    "AtLeastOption",
    "DaskOption",
    "DataOption",
    "DerivedOption",
    "DeviceOption",
    "Digits",
    "EpochsOption",
    "JoinOption",
    "Learner",
    "LearningRate",
    "OutOption",
    "Reader",
    "ResumeOption",
    "SeedOption",
    "SeedsOption",
    "SmilesOption",
    "TasksOption",
    "ValuesOption",
    "WorkersOption",
    "as_numbers",
]

DEFAULT = Settings()
DEFAULT_VALUES = ",".join(str(value) for value in GRID_VALUES)
CORES = os.cpu_count() or 1


class LearningRate(StrEnum):
    """Schedules of the learning rate."""

    cosine = "cosine"
    one_cycle = "one-cycle"


class Learner(StrEnum):
    """Methods of `gate learn`."""

    budget = "budget"
    direct = "direct"


class Digits(StrEnum):
    """Precisions of the networks."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Reader(StrEnum):
    """Embeddings of molecules."""

    fingerprint = "fingerprint"
    graph = "graph"


DataOption = Annotated[str, typer.Option("--data", help="'chemicals', or a CSV file with a SMILES column.")]
TasksOption = Annotated[
    str | None,
    typer.Option(
        "--tasks",
        help="Abbreviations or column names, comma-separated, or 'all'. Default: all of a file; DS,HV,BP of chemicals.",
    ),
]
SmilesOption = Annotated[str | None, typer.Option(help="The SMILES column, if it is not called smiles (in any case).")]
AtLeastOption = Annotated[int, typer.Option(min=1, help="Keep molecules with at least this many labels.")]
DerivedOption = Annotated[
    bool, typer.Option("--derived", help="With labels computed from labels of other tasks; they leak between tasks.")
]
JoinOption = Annotated[
    Path | None,
    typer.Option("--join", help="CSV whose columns (named by abbreviation) and molecules join those of chemicals."),
]

OutOption = Annotated[Path, typer.Option("--out", help="The run folder; must not hold another run.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")]
SeedOption = Annotated[int, typer.Option(help="Decides split, initial weights and batches.")]
SeedsOption = Annotated[int, typer.Option(min=1, help="Number of seeds; each has its own split.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="Epochs of each training.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
ValuesOption = Annotated[str, typer.Option(help="Values of each λ, comma-separated.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Trainings at a time, one thread each.")]


def _is_scheduler(address: str | None) -> str | None:
    """Before any work."""
    if address is None:
        return None
    if not re.fullmatch(r"\w+://.+", address):
        raise typer.BadParameter(f"{address!r}: the address of a Dask scheduler is wanted, such as tcp://10.0.0.1:8786")
    if find_spec("distributed") is None:
        raise typer.BadParameter("Dask is not installed: pip install 'bilevel-hpo[dask]'")
    return address


DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        callback=_is_scheduler,
        help="Of a Dask scheduler, tcp://host:8786: train on its workers, not on this machine (--workers then counts "
        "for nothing).",
    ),
]


def as_numbers(option: str, text: str) -> tuple[float, ...]:
    """Values of λ from "0.2,0.6,1.0"; ValueError naming the option unless they are two or more, different and ≥ 0."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} {text!r}: numbers separated by commas are wanted, e.g. 0.2,0.6,1.0") from None
    if len(set(values)) < 2 or len(set(values)) < len(values) or min(values) < 0:
        raise ValueError(f"{option} {text!r}: at least two different numbers, none negative, none twice, are wanted")
    return values
