"""What a task is, and the tasks that the `chemicals` library can label today."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["CATALOGUE", "Kind", "Task"]

Kind = Literal["tabulated", "correlation", "mixed", "derived", "computed", "user"]


@dataclass(frozen=True)
class Task:
    """One property to predict."""

    abbreviation: str
    """As in the paper's Table 3, or the column's name in a user's file."""
    name: str
    unit: str
    """Of the labels after `transform`; empty when unknown."""
    kind: Kind
    """Where the labels come from; "mixed" is several of the others."""
    transform: Literal["identity", "log10"] = "identity"


CATALOGUE: dict[str, Task] = {
    task.abbreviation: task
    for task in (
        Task("DS", "density of the liquid at 298.15 K", "g/cm3", "mixed"),
        Task("HV", "enthalpy of vaporization at 298.15 K", "kJ/mol", "mixed"),
        Task("BP", "normal boiling point", "K", "tabulated"),
        Task("MP", "melting point", "K", "tabulated"),
        Task("RI", "refractive index", "1", "tabulated"),
        Task("CT", "critical temperature", "K", "tabulated"),
        Task("CTP", "critical pressure", "MPa", "tabulated"),
        Task("CTV", "critical volume", "cm3/mol", "tabulated"),
        Task("HVC", "enthalpy of vaporization at the boiling point", "kJ/mol", "tabulated"),
    )
}
