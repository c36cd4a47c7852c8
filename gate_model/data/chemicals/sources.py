"""The kinds of sources. A declaration of a task lists its sources as these records."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal

from gate_model.data.tasks import Kind, summary

__all__ = ["T_REFERENCE", "Column", "Correlation", "Declaration", "Derived", "Phase", "Solved", "Source", "inputs"]

T_REFERENCE = 298.15
"""Temperature in K at which temperature-dependent properties are taken."""

Phase = Literal["solid", "liquid", "gas"]


@dataclass(frozen=True)
class Column:
    """A source that is a column of a table indexed by CAS number."""

    name: str
    table: str
    """Name of the table: `module.attribute` in the package `chemicals`, `module.attribute[key]` for a dict of tables,
    `file:NAME` for a data file, `chemsep.NAME` for a part of the ChemSep file."""
    column: str
    scale: float = 1.0
    """Factor from the column's unit to the task's unit before its transform."""
    kind: Kind = "tabulated"
    phase: Phase | None = None
    """Leave out molecules that are known to be in another phase at `T_REFERENCE`."""
    certain: bool = False
    """Use only molecules that are known to be in `phase`."""
    temperature: str | None = None
    """Column with the temperature in K of each value; a value is used if it is within 15 K of `T_REFERENCE`."""
    suspect: bool = False
    """The column has boiling points at reduced pressure that do not say so."""
    estimates: bool = False
    """The column repeats one estimate for all isomers, so a value that isomers share is not used."""


@dataclass(frozen=True)
class Correlation:
    """A source that is an equation with its coefficients in columns, evaluated inside its range."""

    name: str
    table: str
    coefficients: tuple[str, ...]
    """Columns of the coefficients. `@BP` is the molecule's label of BP, and so on; `@M` is its molar mass in g/mol."""
    equation: Callable[..., float]
    """(temperature in K, coefficients…) ↦ value; NaN or an arithmetic error where it does not apply."""
    range: tuple[str | None, str | None]
    """Columns (or `@` labels) of the lowest and the highest temperature in K; None: no bound."""
    scale: float = 1.0
    """Factor from the equation's unit to the task's unit before its transform."""
    at: Literal["298.15 K", "BP"] = "298.15 K"
    """The temperature at which the equation is evaluated."""
    kind: Kind = "correlation"
    phase: Phase | None = None
    """Leave out molecules that are known to be in another phase at `T_REFERENCE`."""
    certain: bool = False
    """Use only molecules that are known to be in `phase`."""


@dataclass(frozen=True)
class Derived:
    """A source that is a function of the labels of other tasks; used only where no other source has a value."""

    name: str
    quantities: tuple[str, ...]
    """Tasks, auxiliary quantities, `M` (molar mass in g/mol) or `formula`."""
    equation: Callable[..., float]
    """(labels…) ↦ value; NaN where it does not apply."""

    kind: Kind = "derived"


@dataclass(frozen=True)
class Solved:
    """A source that finds the temperature at which the vapour pressure reaches a share of 1 atm.

    The temperature must be inside the range of a correlation of VP.
    """

    name: str
    limit: str
    """The auxiliary quantity that holds the share."""

    kind: Kind = "derived"


Source = Column | Correlation | Derived | Solved


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """The sources of one task, and how they are judged."""

    sources: tuple[Source, ...]
    """The sources in order of trust; derived ones come last."""
    low: float = -inf
    """Smallest plausible value, after the task's transform; smaller ones are misprints and are dropped."""
    high: float = inf
    """Largest plausible value, after the task's transform."""
    tolerance: float
    """Largest difference, after the task's transform, at which two sources agree."""
    relative: bool = True
    """True: the tolerance is a share of the value. False: it is in the unit of the value."""

    @property
    def kind(self) -> Kind:
        """Kind of the task if all its sources give labels."""
        return summary(source.kind for source in self.sources)


def inputs(source: Source) -> tuple[str, ...]:
    """Return the quantities that must be known before this source can be evaluated."""
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
