"""Equations and relations against numbers worked by hand."""

from math import isnan, nan

import pytest

from gate_model.data.chemicals import equations


def test_relations_between_tasks_by_hand() -> None:
    assert equations.molar_volume(46.07, 0.785) == pytest.approx(58.69, abs=0.01)
    # Lorentz-Lorenz of water: n = 1.333, 18.07 cm3/mol; 1.47 A3 (CRC 1.45)
    assert equations.lorentz_lorenz(1.333, 18.07) == pytest.approx(1.472, abs=0.002)
    assert equations.parachor(16.0, 100.0) == pytest.approx(200.0)
    # Hildebrand parameter of n-hexane, 31.55 kJ/mol and 131.6 cm3/mol: 14.9 MPa^0.5
    assert equations.hildebrand(31.55, 131.6) == pytest.approx(14.9, abs=0.05)
    assert isnan(equations.hildebrand(2.0, 100.0))
    # Water: Hf -241.83 kJ/mol, S 188.84 J/(mol K); Gf -228.6 kJ/mol (CODATA)
    assert equations.gibbs(-241.83, 188.84, "H2O") == pytest.approx(-228.6, abs=0.1)
    assert isnan(equations.gibbs(0.0, 0.0, "C2H6Hg"))
    assert equations.combustion_gross(-74.52, "CH4") == pytest.approx(-890.6, abs=0.3)
    assert equations.combustion_net(-74.52, "CH4") == pytest.approx(-802.6, abs=0.3)
    assert isnan(equations.combustion_net(0.0, "C2H6Hg"))
    assert equations.hansen(298.15, 2.0, 3.0, 6.0) == 7.0


def test_equations_of_the_tables_by_hand() -> None:
    assert equations.viscosity_base_10(300.0, -5.0, 600.0) == pytest.approx(1e-3)
    assert equations.permittivity(300.0, 10.0, -0.02, nan, nan) == pytest.approx(4.0)
    assert equations.permittivity(300.0, 10.0, -0.02, 1e-4, nan) == pytest.approx(13.0)
    assert isnan(equations.alibakhshi(298.15, 400.0, 600.0, 100.0)), "more than 50 K below the boiling point"
    assert equations.plausible_volume(298.15, 1e-4, 100.0) == 1e-4
    assert isnan(equations.plausible_volume(298.15, 2.8e8, 100.0))
