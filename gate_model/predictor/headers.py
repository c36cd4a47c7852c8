"""The names of the columns of predictions, each given once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gate_model.data.tasks import Task

__all__ = ["NEAREST", "OWN", "PROBLEM", "SIMILARITY", "UNLIKE", "Headers", "headers", "title"]

SIMILARITY, NEAREST, UNLIKE, PROBLEM = "similarity", "nearest training molecule", "unlike training", "problem"
OWN = ("row", "smiles", SIMILARITY, NEAREST, UNLIKE, PROBLEM)
"""The columns that belong to no task."""


@dataclass(frozen=True)
class Headers:
    """The four columns of a task."""

    value: str
    sigma: str
    low: str
    high: str

    @classmethod
    def of(cls, task: Task) -> "Headers":
        """Made from its abbreviation and unit."""
        return cls(title(task), title(task, "±"), title(task, "low"), title(task, "high"))


def title(task: Task, sign: str = "") -> str:
    """A column's header: `BP [K]`, `BP ± [K]`, `VP [log10 Pa]`; no brackets where the unit is unknown."""
    name = f"{task.abbreviation} {sign}".rstrip()
    unit = f"log10 {task.unit}".rstrip() if task.transform == "log10" and "log10" not in task.unit else task.unit
    return f"{name} [{unit}]" if unit else name


def headers(tasks: Sequence[Task]) -> list[Headers]:
    """The columns of every task. No two columns of a file have the same name: a task one of whose columns would be
    called as one of `OWN`, or as one of an earlier task, is called `NAME (task)`.
    """
    taken, found = set(OWN), []
    for task in tasks:
        named = task
        while taken & set(vars(Headers.of(named)).values()):
            named = replace(named, abbreviation=f"{named.abbreviation} (task)")
        found.append(Headers.of(named))
        taken |= set(vars(found[-1]).values())
    return found
