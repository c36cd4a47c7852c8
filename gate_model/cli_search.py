"""`gate grid` and `gate tpe`: a search over symmetric λ."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer

from bilevel_hpo.search import without_password
from gate_model.cli_data import load_table
from gate_model.cli_options import (
    DEFAULT,
    DEFAULT_VALUES,
    AtLeastOption,
    DataOption,
    DerivedOption,
    DeviceOption,
    EpochsOption,
    JoinOption,
    OutOption,
    ResumeOption,
    SeedOption,
    SmilesOption,
    TasksOption,
    ValuesOption,
    as_numbers,
)
from gate_model.cli_run import command_typed, finish, open_run, prepare_shown, progress_bar, report_shown
from gate_model.data.table import PropertyTable
from gate_model.experiments.outcome import write_outcomes
from gate_model.experiments.search import GRID_VALUES, check_size, run_search
from gate_model.methods import pairs
from gate_model.training import Settings, resolve_device

__all__ = ["grid", "tpe"]

POPULATION = 9

StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="GATE_STORAGE",
        help="Where the study is kept: a journal file or the URL of a database. Default: study.journal in --out.",
    ),
]
StudyOption = Annotated[
    str | None, typer.Option("--study", help="Its name in --storage. Default: the name of the command.")
]
PruneOption = Annotated[
    bool, typer.Option("--prune", help="End trainings that are worse than the median of the earlier ones.")
]


@dataclass(frozen=True)
class _Search:
    """What decides a search, beside its data."""

    kind: Literal["grid", "tpe"]
    values: tuple[float, ...]
    length: dict[str, int]
    """trials, epochs and population, those that are given."""
    settings: Settings
    seed: int
    storage: str | None
    study: str | None
    prune: bool
    device: torch.device

    def config(self) -> dict[str, Any]:
        """For `config.json`: what must be the same to go on; the storage without its password."""
        return {
            "seed": self.seed,
            "values": list(self.values),
            "settings": asdict(self.settings),
            "prune": self.prune,
            "length": self.length,
            "storage": None if self.storage is None else without_password(self.storage),
            "study": self.study,
        }


def grid(
    out: OutOption,
    data: DataOption = "chemicals",
    tasks: TasksOption = None,
    smiles_column: SmilesOption = None,
    at_least: AtLeastOption = 1,
    derived: DerivedOption = False,
    join: JoinOption = None,
    values: ValuesOption = DEFAULT_VALUES,
    epochs: EpochsOption = DEFAULT.epochs,
    seed: SeedOption = 0,
    storage: StorageOption = None,
    study: StudyOption = None,
    prune: PruneOption = False,
    population: Annotated[
        int | None,
        typer.Option(min=1, help=f"Points to train in one, which is quicker. Default: {POPULATION}; 1 with --prune."),
    ] = None,
    device: DeviceOption = "auto",
    resume: ResumeOption = False,
) -> None:
    """Search symmetric λ on a grid; the rival that learned λ has to beat."""
    where = resolve_device(device)
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    axis = as_numbers("--values", values)
    if prune and (population or 1) > 1:
        raise ValueError(f"--population {population}: with --prune trainings end one by one; leave one of them out")
    population = population or (1 if prune else POPULATION)
    length = {"trials": check_size(table.abbreviations, axis), "population": population}
    search = _Search("grid", axis, length, Settings(epochs=epochs), seed, storage, study, prune, where)
    _run(search, out, data, table, at_least, resume=resume)


def tpe(
    out: OutOption,
    data: DataOption = "chemicals",
    tasks: TasksOption = None,
    smiles_column: SmilesOption = None,
    at_least: AtLeastOption = 1,
    derived: DerivedOption = False,
    join: JoinOption = None,
    low: Annotated[float, typer.Option(min=0.0, help="Smallest λ.")] = GRID_VALUES[0],
    high: Annotated[float, typer.Option(help="Largest λ.")] = GRID_VALUES[-1],
    trials: Annotated[int, typer.Option(min=1, help="Trainings.")] = 27,
    epoch_budget: Annotated[
        int | None,
        typer.Option(min=1, help="Instead of --trials: begin no training after so many epochs of all together."),
    ] = None,
    epochs: EpochsOption = DEFAULT.epochs,
    seed: SeedOption = 0,
    storage: StorageOption = None,
    study: StudyOption = None,
    prune: PruneOption = False,
    device: DeviceOption = "auto",
    resume: ResumeOption = False,
) -> None:
    """Search symmetric λ with Optuna's TPE, one training a trial."""
    where = resolve_device(device)
    table = load_table(data, tasks, smiles_column, at_least, derived=derived, join=join)
    axis = as_numbers("--low,--high", f"{low},{high}")
    length = {"epochs": epoch_budget} if epoch_budget else {"trials": trials}
    search = _Search("tpe", axis, length, Settings(epochs=epochs), seed, storage, study, prune, where)
    _run(search, out, data, table, at_least, resume=resume)


def _run(search: _Search, out: Path, data: str, table: PropertyTable, at_least: int, *, resume: bool) -> None:
    open_run(out, search.kind, data, table, at_least, resume=resume, **search.config())
    if (out / "results.json").exists():
        report_shown(out)
        return
    prepared = prepare_shown(table, search.seed)
    with progress_bar() as bar:
        task = bar.add_task(f"{search.kind} trials", total=search.length.get("trials"))
        found, frame = run_search(
            search.kind,
            prepared,
            search.settings,
            seed=search.seed,
            storage=search.storage or out / "study.journal",
            values=search.values,
            trials=search.length.get("trials"),
            epochs=search.length.get("epochs"),
            prune=search.prune,
            population=search.length.get("population", 1),
            study_name=search.study,
            device=search.device,
            after_trial=lambda done: bar.update(task, completed=done),
        )
    parameters, command = pairs(prepared.abbreviations), command_typed(search.storage)
    write_outcomes(
        out, "comparison", {search.seed: prepared}, [found], command=command, trials=frame, parameters=parameters
    )
    finish(out, [found], prepared.abbreviations)
