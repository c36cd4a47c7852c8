"""Declarations of heat capacities, of enthalpies, entropies and Gibbs energies of formation, and of combustion."""

from chemicals.dippr import EQ100
from chemicals.heat_capacity import TRCCp

from gate_model.data.chemicals import chemsep, equations
from gate_model.data.chemicals.sources import Column, Correlation, Declaration, Derived, Phase

__all__ = ["ENERGIES"]

_CRC = "heat_capacity.CRC_standard_data"
_JANAF = "file:JANAF_1998.tsv"
_CHEMSEP = ("eqno", "Tc", "A", "B", "C", "D", "E")
_RANGE = ("Tmin", "Tmax")
_FIT = "298.15 K"
"""The column that holds the values of fitted heat capacities."""


def _capacity(part: str) -> Correlation:
    return Correlation("ChemSep", f"chemsep.{part}", _CHEMSEP, chemsep.equation, _RANGE, 1e-3)


def _shomate(phase: str) -> Column:
    return Column("WebBook Shomate", f"heat_capacity.WebBook_Shomate_{phase}", _FIT, kind="correlation")


def _zabransky() -> tuple[Column, ...]:
    """Return sources of isobaric, saturated and mean heat capacities, each as splines and as quasi-polynomials."""
    forms = ("iso_s", "iso_p", "sat_s", "sat_p", "const_s", "const_p")
    return tuple(
        Column(f"Zabransky {form}", f"heat_capacity.zabransky_dict_{form}", _FIT, kind="correlation") for form in forms
    )


def _standard_state(letter: str, scale: float) -> tuple[Column, ...]:
    """Return the columns of solid, liquid and gas, each for the molecules that are stable in that phase."""
    phases: tuple[Phase, ...] = ("solid", "liquid", "gas")
    found = []
    for phase in phases:
        key = f"{letter}{phase[0]}"
        names = {"CRC": "CRC", "WebBook": "WEBBOOK"}
        if phase != "solid":
            names |= {"JANAF": "JANAF"}
            if letter == "Hf":
                names = {"ATcT": f"ATCT_{phase[0].upper()}"} | names
        found += [
            # Where the phase is not known, a value of the solid is used: for molecules of known phase, 97 % of those
            # with such a value are solids. A value of the liquid (88 %) or of the gas (few molecules) is not used.
            Column(f"{n} {phase}", f"reaction.{key}_sources[{s}]", key, scale, phase=phase, certain=phase != "solid")
            for n, s in names.items()
        ]
    return tuple(found)


ENERGIES: dict[str, Declaration] = {
    "CPL": Declaration(
        sources=(
            Column("CRC", _CRC, "Cpl"),
            Column("Poling", "heat_capacity.Cp_data_Poling", "Cpl"),
            *_zabransky(),
            Correlation(
                "Perry 2-153",
                "heat_capacity.Cp_data_Perry_Table_153_100",
                ("A", "B", "C", "D", "E"),
                EQ100,
                _RANGE,
                1e-3,
            ),
            _capacity("LiquidHeatCapacityCp"),
            _shomate("liquids"),
        ),
        low=50.0,
        high=2500.0,
        tolerance=0.1,
    ),
    "CPG": Declaration(
        sources=(
            Column("CRC", _CRC, "Cpg"),
            Correlation(
                "TRC",
                "heat_capacity.TRC_gas_data",
                ("a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"),
                TRCCp,
                _RANGE,
            ),
            Column("Poling", "heat_capacity.Cp_data_Poling", "Cpg"),
            _shomate("gases"),
            _capacity("IdealGasHeatCapacityCp"),
        ),
        low=25.0,
        high=2500.0,
        tolerance=0.1,
    ),
    "CPS": Declaration(
        sources=(Column("CRC", _CRC, "Cps"), _shomate("solids"), _capacity("SolidHeatCapacityCp")),
        low=20.0,
        high=2500.0,
        tolerance=0.1,
    ),
    "SEF": Declaration(sources=_standard_state("Hf", 1e-3), low=-10000.0, high=3000.0, tolerance=15.0, relative=False),
    "SAE": Declaration(sources=_standard_state("S0", 1.0), low=50.0, high=2000.0, tolerance=0.1),
    "GEF": Declaration(
        sources=(
            Column("CRC", _CRC, "Gfg", 1e-3),
            Column("JANAF", _JANAF, "Gfg", 1e-3),
            Column("ChemSep", "chemsep.constants", "GibbsEnergyOfFormation", 1e-6),
            Derived("Hf - T (S - S of elements)", ("enthalpy", "entropy", "formula"), equations.gibbs),
        ),
        low=-10000.0,
        high=3000.0,
        tolerance=15.0,
        relative=False,
    ),
    "HC": Declaration(
        sources=(Derived("combustion of SEF", ("SEF", "formula"), equations.combustion_gross),),
        low=-60000.0,
        high=500.0,
        tolerance=0.05,
    ),
    "NEC": Declaration(
        sources=(
            Column("ChemSep", "chemsep.constants", "HeatOfCombustion", 1e-6),
            Derived("combustion of SEF", ("SEF", "formula"), equations.combustion_net),
        ),
        low=-60000.0,
        high=-1.0,
        tolerance=0.05,
    ),
    # Of the ideal gas, for GEF. The TRC column of Hfg is left out: it is the enthalpy at 0 K.
    "enthalpy": Declaration(
        sources=(
            Column("ATcT", "reaction.Hfg_sources[ATCT_G]", "Hfg", 1e-3),
            Column("CRC", _CRC, "Hfg", 1e-3),
            Column("API TDB", "reaction.Hfg_sources[API_TDB_G]", "Hfg", 1e-3),
            Column("WebBook", "miscdata.webbook_data", "Hfg", 1e-3),
            Column("JANAF", _JANAF, "Hfg", 1e-3),
            Column("Yaws", "reaction.Hfg_sources[YAWS]", "Hfg", 1e-3, kind="mixed", estimates=True),
            Column("ChemSep", "chemsep.constants", "HeatOfFormation", 1e-6),
        ),
        low=-10000.0,
        high=3000.0,
        tolerance=15.0,
        relative=False,
    ),
    "entropy": Declaration(
        sources=(
            Column("CRC", _CRC, "S0g"),
            Column("WebBook", "miscdata.webbook_data", "S0g"),
            Column("JANAF", _JANAF, "S0g"),
            Column("Yaws", "reaction.S0g_sources[YAWS]", "S0g", kind="mixed", estimates=True),
            Column("ChemSep", "chemsep.constants", "AbsEntropy", 1e-3),
        ),
        low=100.0,
        high=3000.0,
        tolerance=0.05,
    ),
}
