"""Declarations of boiling, melting, the critical point, vaporization and flammability."""

from math import e
from typing import Literal

from chemicals.dippr import EQ101, EQ106
from chemicals.phase_change import PPDS12
from chemicals.vapor_pressure import Antoine, Wagner, Wagner_original

from gate_model.data.chemicals import chemsep, equations
from gate_model.data.chemicals.sources import Column, Correlation, Declaration, Solved
from gate_model.data.tasks import Kind

__all__ = ["TRANSITIONS"]

_CRC = "miscdata.CRC_organic_data"
_WEBBOOK = "miscdata.webbook_data"
_COMMON = "miscdata.common_chemistry_data"
_WIKIDATA = "miscdata.wikidata_data"
_WAGNER = ("Tc", "Pc", "A", "B", "C", "D")


def _critical(key: str, scale: float) -> tuple[Column, ...]:
    found = []
    for name, source in (
        ("IUPAC", "IUPAC"),
        ("HEOS", "HEOS"),
        ("CRC", "CRC"),
        ("Matthews", "MATTHEWS"),
        ("WebBook", "WEBBOOK"),
        ("Passut-Danner", "PD"),
        ("PSRK", "PSRK"),
        ("Pina-Martinez", "PINAMARTINES"),
        ("Yaws", "YAWS"),
    ):
        kind: Kind = "mixed" if source in {"PSRK", "PINAMARTINES", "YAWS"} else "tabulated"
        if (key, source) != ("Vc", "PD"):  # Passut and Danner give no volumes
            table = f"critical.{key}_sources[{source}]"
            found.append(Column(name, table, key, scale, kind, estimates=source == "YAWS"))
    return tuple(found)


def _antoine(t: float, a: float, b: float, c: float) -> float:
    return float(Antoine(t, a, b, c, base=e))


def _vaporization(at: Literal["298.15 K", "BP"]) -> tuple[Correlation, ...]:
    """Return the sources that are fits of the enthalpy of vaporization."""
    perry = "phase_change.phase_change_data_Perrys2_150"
    vdi = "phase_change.phase_change_data_VDI_PPDS_4"
    fits = "phase_change.phase_change_data_Alibakhshi_Cs"
    row = ("eqno", "Tc", "A", "B", "C", "D", "E")
    return (
        Correlation("Perry 2-150", perry, ("Tc", "C1", "C2", "C3", "C4"), EQ106, ("Tmin", "Tmax"), 1e-3, at),
        Correlation("ChemSep", "chemsep.HeatOfVaporization", row, chemsep.equation, ("Tmin", "Tmax"), 1e-6, at),
        Correlation("VDI PPDS 4", vdi, ("Tc", "A", "B", "C", "D", "E"), PPDS12, ("@MP", "Tc"), 1e-3, at),
        Correlation("Alibakhshi", fits, ("@BP", "@CT", "C"), equations.alibakhshi, (None, None), 1e-3, at),
    )


TRANSITIONS: dict[str, Declaration] = {
    "MP": Declaration(
        sources=(
            Column("Open notebook", "phase_change.Tm_ON_data", "Tm"),
            Column("CRC organic", _CRC, "Tm"),
            Column("Common Chemistry", _COMMON, "Tm"),
            Column("WebBook", _WEBBOOK, "Tm"),
            Column("Wikidata", _WIKIDATA, "Tm"),
        ),
        low=15.0,
        high=1000.0,
        tolerance=10.0,
        relative=False,
    ),
    "BP": Declaration(
        sources=(
            Column("HEOS", "miscdata.heos_data", "Tb"),
            Column("CRC organic", _CRC, "Tb"),
            Column("WebBook", _WEBBOOK, "Tb", suspect=True),
            Column("Common Chemistry", _COMMON, "Tb", suspect=True),
            Column("Wikidata", _WIKIDATA, "Tb", suspect=True),
            Column("Yaws", "phase_change.Tb_data_Yaws", "Tb", kind="mixed", estimates=True),
        ),
        low=50.0,
        high=1200.0,
        tolerance=10.0,
        relative=False,
    ),
    "CT": Declaration(sources=_critical("Tc", 1.0), low=100.0, high=1500.0, tolerance=0.05),
    "CTP": Declaration(sources=_critical("Pc", 1e-6), low=0.1, high=15.0, tolerance=0.15),
    "CTV": Declaration(sources=_critical("Vc", 1e6), low=50.0, high=5000.0, tolerance=0.15),
    "HV": Declaration(
        # The first two are standard enthalpies (vapour of monomers), the others of the real vapour: acids differ.
        sources=(
            Column("Gharagheizi", "phase_change.Hvap_data_Gharagheizi", "Hvap298", 1e-3),
            Column("WebBook", _WEBBOOK, "Hvap", 1e-3),
            Column("CRC", "phase_change.Hvap_data_CRC", "Hvap298", 1e-3),
            *_vaporization("298.15 K"),
        ),
        low=1.0,
        high=300.0,
        tolerance=0.10,
    ),
    "HVC": Declaration(
        sources=(Column("CRC", "phase_change.Hvap_data_CRC", "HvapTb", 1e-3), *_vaporization("BP")),
        low=1.0,
        high=200.0,
        tolerance=0.10,
    ),
    "VP": Declaration(
        sources=(
            Correlation(
                "Wagner McGarry", "vapor_pressure.Psat_data_WagnerMcGarry", _WAGNER, Wagner_original, ("Tmin", "Tc")
            ),
            Correlation("Wagner Poling", "vapor_pressure.Psat_data_WagnerPoling", _WAGNER, Wagner, ("Tmin", "Tmax")),
            Correlation(
                "Perry 2-8",
                "vapor_pressure.Psat_data_Perrys2_8",
                ("C1", "C2", "C3", "C4", "C5"),
                EQ101,
                ("Tmin", "Tmax"),
            ),
            Correlation(
                "Antoine Poling", "vapor_pressure.Psat_data_AntoinePoling", ("A", "B", "C"), Antoine, ("Tmin", "Tmax")
            ),
            Correlation(
                "Landolt", "vapor_pressure.Psat_data_Landolt_Antoine", ("A", "B", "C"), _antoine, ("Tmin", "Tmax")
            ),
            Correlation(
                "Landolt sublimation",
                "vapor_pressure.Psub_data_Landolt_Antoine",
                ("A", "B", "C"),
                _antoine,
                ("Tmin", "Tmax"),
                phase="solid",
            ),
            Correlation("VDI PPDS 3", "vapor_pressure.Psat_data_VDI_PPDS_3", _WAGNER, Wagner, ("Tm", "Tc")),
            Correlation(
                "WebBook",
                _WEBBOOK,
                ("AntoineA", "AntoineB", "AntoineC"),
                _antoine,
                ("AntoineTmin", "AntoineTmax"),
            ),
        ),
        low=-12.0,
        high=7.2,
        tolerance=0.3,
        relative=False,
    ),
    "FP": Declaration(
        sources=(
            Column("IEC 60079", "safety.IEC_2010_data", "T_flash"),
            Column("Serat", "safety.DIPPR_SERAT_data", "T_flash"),
            Column("Wikidata", _WIKIDATA, "T_flash"),
            Column("NFPA 497", "safety.NFPA_2008_data", "T_flash"),  # last: gross errors
        ),
        low=100.0,
        high=900.0,
        tolerance=15.0,
        relative=False,
    ),
    "LF": Declaration(
        sources=(Solved("vapour pressure = lower limit", "lower"),),
        low=100.0,
        high=700.0,
        tolerance=15.0,
        relative=False,
    ),
    "UFT": Declaration(
        sources=(Solved("vapour pressure = upper limit", "upper"),),
        low=100.0,
        high=700.0,
        tolerance=15.0,
        relative=False,
    ),
}

for _name, _column, _low, _high in (("lower", "LFL", 1e-4, 0.6), ("upper", "UFL", 1e-3, 0.95)):
    TRANSITIONS[_name] = Declaration(  # flammability limits as mole fractions in air at 1 atm
        sources=(
            Column("IEC 60079", "safety.IEC_2010_data", _column),
            Column("NFPA 497", "safety.NFPA_2008_data", _column),
            Column("Wikidata", _WIKIDATA, _column),
        ),
        low=_low,
        high=_high,
        tolerance=0.3,
    )
