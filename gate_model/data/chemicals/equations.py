"""Equations that the libraries do not have in the form that the tables need, and the relations between tasks.

The first argument of a correlation is the temperature in K. A relation takes labels in the units of their tasks. Where
an equation does not apply, it returns NaN.
"""

from collections.abc import Callable
from math import isnan, nan, sqrt

from chemicals.combustion import HHV_stoichiometry, LHV_from_HHV, combustion_stoichiometry
from chemicals.elements import simple_formula_parser
from chemicals.phase_change import Alibakhshi
from chemicals.refractivity import polarizability_from_RI
from chemicals.volume import volume_VDI_PPDS

from gate_model.data.chemicals.sources import T_REFERENCE

__all__ = [
    "alibakhshi",
    "combustion_gross",
    "combustion_net",
    "gibbs",
    "hansen",
    "hildebrand",
    "lorentz_lorenz",
    "molar_volume",
    "parachor",
    "permittivity",
    "plausible_volume",
    "times_molar_mass",
    "vdi_density",
    "viscosity_base_10",
]

_R = 8.31446261815324e-3  # kJ/(mol K)
_BURNT = frozenset(("C", "H", "N", "O", "S", "F", "Cl", "Br", "I", "P"))
# J/(mol K) per atom of the element in its reference state at 298.15 K (CODATA 1989).
_ELEMENT_ENTROPY = {
    "H": 65.34, "C": 5.74, "N": 95.805, "O": 102.576, "F": 101.396, "Cl": 111.542, "Br": 76.105, "I": 58.07,
    "S": 32.054, "P": 41.09, "Si": 18.81, "B": 5.90,
}  # fmt: skip


def times_molar_mass(equation: Callable[..., float]) -> Callable[..., float]:
    """Turn the equation of a molar density into that of a density: the molar mass becomes its last coefficient."""
    return lambda t, *row: equation(t, *row[:-1]) * row[-1]


def vdi_density(t: float, tc: float, rhoc: float, a: float, b: float, c: float, d: float, mass: float) -> float:
    """Return the density of a saturated liquid in g/cm3 by the VDI-PPDS equation."""
    return float(mass / (1e6 * volume_VDI_PPDS(t, tc, rhoc, a, b, c, d, mass)))


def alibakhshi(t: float, tb: float, tc: float, c: float) -> float:
    """Return the enthalpy of vaporization in J/mol by Alibakhshi's equation of one constant.

    It applies from Tb − 50 K to Tc − 100 K.
    """
    return float(Alibakhshi(t, tc, c)) if tb - 50 <= t <= tc - 100 else nan


def viscosity_base_10(t: float, a: float, b: float) -> float:
    """Return the viscosity 10^(A + B/T) in Pa·s.

    The library applies exp() to these coefficients, but they are for base 10: with base 10 the median difference in
    log10 from Perry's table is 0.004.
    """
    return float(10.0 ** (a + b / t))


def permittivity(t: float, a: float, b: float, c: float, d: float) -> float:
    """Return the CRC polynomial A + BT + CT² + DT³; C and D may be NaN, which counts as 0."""
    return a + b * t + (0.0 if isnan(c) else c) * t**2 + (0.0 if isnan(d) else d) * t**3


def molar_volume(mass: float, density: float) -> float:
    """Return the molar volume in cm3/mol: the molar mass in g/mol divided by the density in g/cm3."""
    return mass / density


def plausible_volume(_: float, volume: float, mass: float) -> float:
    """Return a molar volume in m3/mol if its density is 0.6 to 5 g/cm3; the table has misprints up to 2.8e8."""
    return volume if 0.6e6 <= mass / volume <= 5e6 else nan


def lorentz_lorenz(index: float, volume: float) -> float:
    """Return the polarizability volume in Å3 from the refractive index and the molar volume in cm3/mol."""
    return float(polarizability_from_RI(index, volume * 1e-6) * 1e30)


def parachor(tension: float, volume: float) -> float:
    """Return the parachor V·σ^(1/4) (Macleod–Sugden) from mN/m and cm3/mol; the vapour's density is neglected."""
    return float(volume * tension**0.25)


def hildebrand(vaporization: float, volume: float) -> float:
    """Return the solubility parameter √((ΔHvap − RT)/V) at 298.15 K in MPa^0.5, from kJ/mol and cm3/mol."""
    cohesive = vaporization - _R * T_REFERENCE
    return sqrt(1e3 * cohesive / volume) if cohesive > 0 else nan


def hansen(_: float, dispersion: float, polar: float, bonding: float) -> float:
    """Return the total solubility parameter from Hansen's three parts."""
    return sqrt(dispersion**2 + polar**2 + bonding**2)


def gibbs(enthalpy: float, entropy: float, formula: str) -> float:
    """Return ΔGf = ΔHf − T(S − ΣS of the elements) at 298.15 K in kJ/mol, from kJ/mol and J/(mol K)."""
    atoms: dict[str, float] = simple_formula_parser(formula)
    if not set(atoms) <= set(_ELEMENT_ENTROPY):
        return nan
    elements = sum(count * _ELEMENT_ENTROPY[element] for element, count in atoms.items())
    return enthalpy - T_REFERENCE * (entropy - elements) * 1e-3


def combustion_gross(formation: float, formula: str) -> float:
    """Return the enthalpy of combustion in kJ/mol to CO2, liquid water, N2, SO2, HCl, HF, Br2, I2 and P4O10."""
    atoms: dict[str, float] = simple_formula_parser(formula)
    if not set(atoms) <= _BURNT:
        return nan
    return float(HHV_stoichiometry(combustion_stoichiometry(atoms), formation * 1e3) * 1e-3)


def combustion_net(formation: float, formula: str) -> float:
    """Return the enthalpy of combustion as `combustion_gross` does, but with water as a gas."""
    water = combustion_stoichiometry(simple_formula_parser(formula)).get("H2O", 0.0)
    return float(LHV_from_HHV(combustion_gross(formation, formula) * 1e3, water) * 1e-3)
