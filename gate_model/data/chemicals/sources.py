"""The ways in which a source gives values; declarations are made of these."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal

from gate_model.data.tasks import Kind, summary

__all__ = ["T_REFERENCE", "Column", "Correlation", "Declaration", "Derived", "Phase", "Solved", "Source", "inputs"]

T_REFERENCE = 298.15
"""K; temperature at which temperature-dependent properties are taken."""

Phase = Literal["solid", "liquid", "gas"]


@dataclass(frozen=True)
class Column:
    """A column of a table, indexed by CAS number."""

    name: str
    table: str
    """`module.attribute` below `chemicals`, `module.attribute[key]` for a dict of tables, `file:NAME` for a data file,
    `chemsep.NAME` for a part of the ChemSep file."""
    column: str
    scale: float = 1.0
    kind: Kind = "tabulated"
    phase: Phase | None = None
    """Not of molecules known to be in another phase at `T_REFERENCE`."""
    certain: bool = False
    """Only of molecules known to be in `phase`."""
    temperature: str | None = None
    """Column of the temperature in K that belongs to the value, which is used if it is within 15 K of `T_REFERENCE`."""
    suspect: bool = False
    """Holds boiling points whose reduced pressure was lost."""
    estimates: bool = False
    """Repeats one estimate for isomers: a value that isomers share is not used."""


@dataclass(frozen=True)
class Correlation:
    """An equation with coefficients in columns, evaluated inside its range."""

    name: str
    table: str
    coefficients: tuple[str, ...]
    """Columns; `@BP` is the molecule's label of BP, and so for any quantity; `@M` its molar mass in g/mol."""
    equation: Callable[..., float]
    """(temperature in K, coefficients…) ↦ value; NaN or an arithmetic error where it does not apply."""
    range: tuple[str | None, str | None]
    """Columns (or `@` labels) of the lowest and the highest temperature in K; None: no bound."""
    scale: float = 1.0
    """To the task's unit before its transform."""
    at: Literal["298.15 K", "BP"] = "298.15 K"
    kind: Kind = "correlation"
    phase: Phase | None = None
    """Not of molecules known to be in another phase at `T_REFERENCE`."""
    certain: bool = False
    """Only of molecules known to be in `phase`."""


@dataclass(frozen=True)
class Derived:
    """A function of the labels of other tasks; used only where no other source has a value."""

    name: str
    quantities: tuple[str, ...]
    """Tasks, auxiliary quantities, `M` (molar mass in g/mol) or `formula`."""
    equation: Callable[..., float]
    """(labels…) ↦ value; NaN if it does not apply."""

    kind: Kind = "derived"


@dataclass(frozen=True)
class Solved:
    """The temperature at which the vapour pressure reaches a share of 1 atm, inside the range of a VP correlation."""

    name: str
    limit: str
    """The auxiliary quantity that holds the share."""

    kind: Kind = "derived"


Source = Column | Correlation | Derived | Solved


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """How one task is labelled."""

    sources: tuple[Source, ...]
    """In order of trust; the derived ones last."""
    low: float = -inf
    high: float = inf
    """Values outside are misprints and are dropped; after the task's transform."""
    tolerance: float
    """Sources agree within this; after the task's transform."""
    relative: bool = True
    """The tolerance is a share of the value, not an amount of its unit."""

    @property
    def kind(self) -> Kind:
        """Of the task, were all sources to give labels."""
        return summary(source.kind for source in self.sources)


def inputs(source: Source) -> tuple[str, ...]:
    """Quantities that must be known before this source can be evaluated."""
    phase = ("MP", "BP") if isinstance(source, Column | Correlation) and source.phase else ()
    match source:
        case Column():
            return (*phase, *(("MP",) if source.suspect else ()))
        case Correlation():
            named = [name for name in (*source.coefficients, *source.range) if name and name.startswith("@")]
            return (*phase, *(name[1:] for name in named), *(("BP",) if source.at == "BP" else ()))
        case Derived():
            return source.quantities
        case Solved():
            return (source.limit, "VP")
