"""Which tables of `chemicals` give which task, in order of trust, and what is believed of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from chemicals import phase_change, volume
from chemicals.dippr import EQ105, EQ106

__all__ = ["DECLARATIONS", "T_REFERENCE", "Column", "Correlation", "Declaration", "Source"]

T_REFERENCE = 298.15
"""K; temperature at which temperature-dependent properties are taken."""


@dataclass(frozen=True)
class Column:
    """A column of a table, indexed by CAS number."""

    name: str
    table: str
    """`module.attribute` below `chemicals`; `module.attribute[key]` for a dict of tables."""
    column: str
    scale: float = 1.0
    suspect: bool = False
    """Holds values whose pressure or phase was lost: a value far below every other source is not believed."""


@dataclass(frozen=True)
class Correlation:
    """An equation with coefficients in columns, evaluated at `T_REFERENCE` inside its range."""

    name: str
    table: str
    coefficients: tuple[str, ...]
    equation: Callable[..., float]
    """(coefficients…, molar mass in g/mol) ↦ value in the task's unit."""
    range: tuple[str | None, str]
    """Columns of the lowest and the highest temperature in K; None: the melting point."""


Source = Column | Correlation


@dataclass(frozen=True)
class Declaration:
    """How one task is labelled."""

    sources: tuple[Source, ...]
    """In order of trust."""
    low: float = -inf
    high: float = inf
    """Values outside are misprints and are dropped."""
    tolerance: float = field(kw_only=True)
    """Sources agree within this."""
    relative: bool = field(default=True, kw_only=True)
    """The tolerance is a share of the value, not an amount of its unit."""
    phase: Literal["any", "liquid"] = field(default="any", kw_only=True)
    """"liquid": only of molecules that melt below and boil above 298.15 K, as far as known."""


def _perry_density(c1: float, c2: float, c3: float, c4: float, mass: float) -> float:
    return float(mass * EQ105(T_REFERENCE, c1, c2, c3, c4) * 1e-6)


def _vdi_density(tc: float, rhoc: float, a: float, b: float, c: float, d: float, mass: float) -> float:
    return float(mass / (1e6 * volume.volume_VDI_PPDS(T_REFERENCE, tc, rhoc, a, b, c, d, mass)))


def _perry_vaporization(tc: float, c1: float, c2: float, c3: float, c4: float, mass: float) -> float:
    return float(EQ106(T_REFERENCE, tc, c1, c2, c3, c4) * 1e-3)


def _vdi_vaporization(tc: float, a: float, b: float, c: float, d: float, e: float, mass: float) -> float:
    return float(phase_change.PPDS12(T_REFERENCE, tc, a, b, c, d, e) * 1e-3)


def _critical(key: str, scale: float) -> tuple[Column, ...]:
    trusted = ("IUPAC", "HEOS", "CRC", "MATTHEWS", "WEBBOOK")
    return tuple(Column(source, f"critical.{key}_sources[{source}]", key, scale) for source in trusted)


DECLARATIONS: dict[str, Declaration] = {
    "DS": Declaration(
        (
            Correlation(
                "Perry 2-32",
                "volume.rho_data_Perry_8E_105_l",
                ("C1", "C2", "C3", "C4"),
                _perry_density,
                ("Tmin", "Tmax"),
            ),
            Correlation(
                "VDI PPDS 2",
                "volume.rho_data_VDI_PPDS_2",
                ("Tc", "rhoc", "A", "B", "C", "D"),
                _vdi_density,
                (None, "Tc"),
            ),
            Column("CRC organic", "miscdata.CRC_organic_data", "rho", 1e-3),
        ),
        0.2,
        5.0,
        tolerance=0.05,
        phase="liquid",
    ),
    "HV": Declaration(
        (
            Column("Gharagheizi", "phase_change.Hvap_data_Gharagheizi", "Hvap298", 1e-3),
            Column("WebBook", "miscdata.webbook_data", "Hvap", 1e-3),
            Column("CRC", "phase_change.Hvap_data_CRC", "Hvap298", 1e-3),
            Correlation(
                "Perry 2-150",
                "phase_change.phase_change_data_Perrys2_150",
                ("Tc", "C1", "C2", "C3", "C4"),
                _perry_vaporization,
                ("Tmin", "Tmax"),
            ),
            Correlation(
                "VDI PPDS 4",
                "phase_change.phase_change_data_VDI_PPDS_4",
                ("Tc", "A", "B", "C", "D", "E"),
                _vdi_vaporization,
                (None, "Tc"),
            ),
        ),
        1.0,
        300.0,
        tolerance=0.10,
    ),
    "BP": Declaration(
        (
            Column("HEOS", "miscdata.heos_data", "Tb"),
            Column("CRC organic", "miscdata.CRC_organic_data", "Tb"),
            Column("WebBook", "miscdata.webbook_data", "Tb", suspect=True),
            Column("Common Chemistry", "miscdata.common_chemistry_data", "Tb", suspect=True),
            Column("Wikidata", "miscdata.wikidata_data", "Tb", suspect=True),
            Column("Yaws", "phase_change.Tb_data_Yaws", "Tb"),
        ),
        50.0,
        1200.0,
        tolerance=10.0,
        relative=False,
    ),
    "MP": Declaration(
        (
            Column("Open notebook", "phase_change.Tm_ON_data", "Tm"),
            Column("CRC organic", "miscdata.CRC_organic_data", "Tm"),
            Column("Common Chemistry", "miscdata.common_chemistry_data", "Tm"),
            Column("WebBook", "miscdata.webbook_data", "Tm"),
            Column("Wikidata", "miscdata.wikidata_data", "Tm"),
        ),
        15.0,
        1000.0,
        tolerance=10.0,
        relative=False,
    ),
    "RI": Declaration(
        (Column("CRC organic", "miscdata.CRC_organic_data", "RI"), Column("Wikidata", "miscdata.wikidata_data", "RI")),
        1.0,
        2.3,
        tolerance=0.02,
        relative=False,
    ),
    "CT": Declaration(_critical("Tc", 1.0), 100.0, 1500.0, tolerance=0.05),
    "CTP": Declaration(_critical("Pc", 1e-6), 0.1, 15.0, tolerance=0.15),
    "CTV": Declaration(_critical("Vc", 1e6), 50.0, 5000.0, tolerance=0.15),
    "HVC": Declaration((Column("CRC", "phase_change.Hvap_data_CRC", "HvapTb", 1e-3),), 1.0, 200.0, tolerance=0.10),
}
