"""Declarations of density, volume, viscosity, surface tension, optical and electric properties, solubility and size."""

from chemicals.dippr import EQ101, EQ105, EQ106
from chemicals.interface import Jasper, REFPROP_sigma, Somayajulu
from chemicals.viscosity import PPDS9, Viswanath_Natarajan_2_exponential, Viswanath_Natarajan_3

from gate_model.data.chemicals import chemsep, equations
from gate_model.data.chemicals.sources import Column, Correlation, Declaration, Derived, Phase

__all__ = ["LIQUIDS"]

_CRC = "miscdata.CRC_organic_data"
_COMMON = "miscdata.common_chemistry_data"
_WIKIDATA = "miscdata.wikidata_data"
_RANGE = ("Tmin", "Tmax")
_CHEMSEP = ("eqno", "Tc", "A", "B", "C", "D", "E")
_HANSEN = ("HANSEN_DELTA_D", "HANSEN_DELTA_P", "HANSEN_DELTA_H")
_DEBYE = 3.33564e-30  # C m


def _chemsep(part: str, scale: float) -> Correlation:
    return Correlation("ChemSep", f"chemsep.{part}", _CHEMSEP, chemsep.equation, _RANGE, scale)


def _volume(phase: Phase, column: str) -> Correlation:
    both = (column, "@M")
    return Correlation(
        "Common Chemistry", _COMMON, both, equations.plausible_volume, (None, None), 1e6, kind="tabulated", phase=phase
    )


def _solid_volume(_: float, density: float, mass: float) -> float:
    return 1e3 * mass / density


def _chemsep_volume(t: float, *row: float) -> float:
    return 1.0 / chemsep.equation(t, *row)


LIQUIDS: dict[str, Declaration] = {
    "DS": Declaration(
        sources=(
            Correlation(
                "Perry 2-32",
                "volume.rho_data_Perry_8E_105_l",
                ("C1", "C2", "C3", "C4", "@M"),
                equations.times_molar_mass(EQ105),
                _RANGE,
                1e-6,
            ),
            Correlation(
                "ChemSep",
                "chemsep.LiquidDensity",
                (*_CHEMSEP, "@M"),
                equations.times_molar_mass(chemsep.equation),
                _RANGE,
                1e-3,
            ),
            Correlation(
                "VDI PPDS 2",
                "volume.rho_data_VDI_PPDS_2",
                ("Tc", "rhoc", "A", "B", "C", "D", "@M"),
                equations.vdi_density,
                ("@MP", "Tc"),
            ),
            Column("CRC organic", _CRC, "rho", 1e-3, phase="liquid"),
        ),
        low=0.2,
        high=5.0,
        tolerance=0.05,
    ),
    "MVL": Declaration(
        sources=(
            _volume("liquid", "Vml"),
            Derived("M/DS", ("M", "DS"), equations.molar_volume),
        ),
        low=20.0,
        high=1500.0,
        tolerance=0.05,
    ),
    "MVS": Declaration(
        sources=(
            _volume("solid", "Vms"),
            Correlation(
                "CRC organic",
                _CRC,
                ("rho", "@M"),
                _solid_volume,
                (None, None),
                kind="tabulated",
                phase="solid",
                certain=True,
            ),
            Correlation("ChemSep", "chemsep.SolidDensity", _CHEMSEP, _chemsep_volume, _RANGE, 1e3),
        ),
        low=20.0,
        high=1500.0,
        tolerance=0.05,
    ),
    "VS": Declaration(
        sources=(
            Correlation(
                "Perry 2-313",
                "viscosity.mu_data_Perrys_8E_2_313",
                ("C1", "C2", "C3", "C4", "C5"),
                EQ101,
                _RANGE,
                1e3,
            ),
            _chemsep("LiquidViscosity", 1e3),
            # The constants of these two are for mPa·s, not for the Pa·s of the function's docstring.
            Correlation("Viswanath 3", "viscosity.mu_data_VN3", ("A", "B", "C"), Viswanath_Natarajan_3, _RANGE),
            Correlation("Dutt-Prasad", "viscosity.mu_data_Dutt_Prasad", ("A", "B", "C"), Viswanath_Natarajan_3, _RANGE),
            Correlation(
                "Viswanath 2e", "viscosity.mu_data_VN2E", ("C", "D"), Viswanath_Natarajan_2_exponential, _RANGE, 1e3
            ),
            Correlation("Viswanath 2", "viscosity.mu_data_VN2", ("A", "B"), equations.viscosity_base_10, _RANGE, 1e3),
            Correlation(
                "VDI PPDS 7", "viscosity.mu_data_VDI_PPDS_7", ("A", "B", "C", "D", "E"), PPDS9, ("@MP", "@BP"), 1e3
            ),
        ),
        low=-2.0,
        high=6.0,
        tolerance=0.15,
        relative=False,
    ),
    "ST": Declaration(
        sources=(
            Correlation(
                "Mulero-Cachadina",
                "interface.sigma_data_Mulero_Cachadina",
                ("Tc", "sigma0", "n0", "sigma1", "n1", "sigma2", "n2"),
                REFPROP_sigma,
                _RANGE,
                1e3,
            ),
            Correlation("Jasper-Lange", "interface.sigma_data_Jasper_Lange", ("a", "b"), Jasper, _RANGE, 1e3),
            Correlation(
                "Somayajulu",
                "interface.sigma_data_Somayajulu2",
                ("Tc", "A", "B", "C"),
                Somayajulu,
                ("Tt", "Tc"),
                1e3,
            ),
            Correlation(
                "VDI PPDS 11",
                "interface.sigma_data_VDI_PPDS_11",
                ("Tc", "A", "B", "C", "D", "E"),
                EQ106,
                ("Tm", "Tc"),
                1e3,
            ),
            _chemsep("SurfaceTension", 1e3),
        ),
        low=0.5,
        high=100.0,
        tolerance=0.10,
    ),
    "RI": Declaration(
        sources=(
            Column("CRC", "file:CRC Handbook Organic RI.csv", "RI", temperature="RIT"),
            Column("Wikidata", _WIKIDATA, "RI", temperature="RIT"),
        ),
        low=1.0,
        high=2.3,
        tolerance=0.02,
        relative=False,
    ),
    "DK": Declaration(
        sources=(
            Correlation(
                "CRC polynomial",
                "permittivity.permittivity_data_CRC",
                ("A", "B", "C", "D"),
                equations.permittivity,
                _RANGE,
            ),
            Column("CRC", "permittivity.permittivity_data_CRC", "Permittivity", temperature="T"),
        ),
        low=0.0,
        high=2.5,
        tolerance=0.1,
        relative=False,
    ),
    "DM": Declaration(
        sources=(
            Column("CCCBDB", "dipole.dipole_data_CCDB", "dipole_moment"),
            Column("Muller", "dipole.dipole_data_Muller", "dipole_moment"),
            Column("Poling", "dipole.dipole_data_Poling", "dipole_moment"),
            Column("ChemSep", "chemsep.constants", "DipoleMoment", 1 / _DEBYE),
            Column("Psi4", "file:psi4_dipoles.tsv", "dipole_moment", kind="computed"),
        ),
        low=0.0,
        high=20.0,
        tolerance=0.5,
        relative=False,
    ),
    "LP": Declaration(
        sources=(
            Column("CRC", "environment.logP_data_CRC", "logP"),
            Column("Syrres", "environment.logP_data_Syrres", "logP"),
            Column("Wikidata", _WIKIDATA, "logP"),
        ),
        low=-10.0,
        high=15.0,
        tolerance=0.5,
        relative=False,
    ),
    "POL": Declaration(
        sources=(Derived("Lorentz-Lorenz(RI, MVL)", ("RI", "MVL"), equations.lorentz_lorenz),),
        low=0.5,
        high=200.0,
        tolerance=0.1,
    ),
    "PAR": Declaration(
        sources=(
            Column("ChemSep", "chemsep.constants", "Parachor", 1e3 * 1e3**0.25),
            Derived("MVL ST^(1/4)", ("ST", "MVL"), equations.parachor),
        ),
        low=20.0,
        high=3000.0,
        tolerance=0.1,
    ),
    "SPA": Declaration(
        sources=(
            Column("ChemSep", "chemsep.constants", "SolubilityParameter", 1e-3),
            *(
                Correlation(
                    f"Hansen {name}",
                    f"solubility.{table}",
                    _HANSEN,
                    equations.hansen,
                    (None, None),
                    1e-3,
                    kind="tabulated",
                )
                for name, table in (
                    ("Manuel-Ruben", "manuel_ruben_2022_data"),
                    ("Alshehri", "alsheri_hansen_data"),
                    ("HSPiPy", "hspipy_data"),
                    ("Schrier", "wdr_schrier_data"),
                )
            ),
            Derived("((HV - RT)/MVL)^(1/2)", ("HV", "MVL"), equations.hildebrand),
        ),
        low=5.0,
        high=60.0,
        tolerance=0.15,
    ),
    "ROG": Declaration(
        sources=(
            Column("ChemSep", "chemsep.constants", "RadiusOfGyration", 1e10),
            Column("Psi4", "file:psi4_radius_of_gyrations.tsv", "RG", 1e10, kind="computed"),
        ),
        low=0.5,
        high=15.0,
        tolerance=0.15,
    ),
}
