"""How a value is chosen, and the equations behind it, against hand calculations."""

from math import isnan, log10, nan

import numpy as np
import pytest

from gate_model.data.chemicals import chemsep, equations
from gate_model.data.chemicals.choice import choose
from gate_model.data.chemicals.sources import Column, Declaration, Derived
from gate_model.data.tasks import summary

PRINTED = tuple(Column(name, "", "") for name in "abc")
FIT = Column("fit", "", "", kind="correlation")
ESTIMATE = Column("estimate", "", "", kind="mixed")
DERIVED = Derived("derived", (), nan)


def place(values: list[float], *sources: Column | Derived, tolerance: float = 1.0) -> int:
    declaration = Declaration(sources=sources, tolerance=tolerance, relative=False)
    return int(choose(np.array([values]), declaration)[0])


@pytest.mark.parametrize(
    ("values", "sources", "expected"),
    [
        ([1.0, 5.0, nan], PRINTED, 0),
        ([nan, 5.0, nan], PRINTED, 1),
        ([nan, nan, nan], PRINTED, -1),
        ([9.0, 1.0, 1.5], PRINTED, 1),
        ([1.0, 5.0, 9.0], PRINTED, 1),
        ([1.0, 7.1, nan], PRINTED, -1),
        ([1.0, 6.9, nan], PRINTED, 0),
        ([1.0, 99.0], (PRINTED[0], ESTIMATE), 0),
        ([9.0, 9.0, 1.0, 1.0, 1.0, 1.0], (*PRINTED, FIT, FIT, FIT), 0),
        ([9.0, nan, 9.0, 1.0, 1.0, 1.0], (*PRINTED, FIT, FIT, FIT), 3),
        ([nan, 3.0], (PRINTED[0], DERIVED), 1),
        ([1.0, 3.0], (PRINTED[0], DERIVED), 0),
        ([1.0, 8.0], (PRINTED[0], DERIVED), -1),
    ],
)
def test_which_source_is_believed(values: list[float], sources: tuple[Column | Derived, ...], expected: int) -> None:
    assert place(values, *sources) == expected


def test_a_relative_tolerance_follows_the_value() -> None:
    declaration = Declaration(sources=PRINTED, tolerance=0.1)
    values = np.array([[100.0, 109.0, 108.0], [1.0, 9.0, 9.1], [100.0, 161.0, nan], [100.0, 250.0, nan]])
    np.testing.assert_array_equal(choose(values, declaration), [0, 1, 0, -1])


def test_summary_of_kinds() -> None:
    assert summary(["tabulated", "tabulated"]) == "tabulated"
    assert summary(["tabulated", "derived"]) == "mixed"
    assert summary([]) == "user"


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


@pytest.mark.parametrize(
    ("number", "coefficients", "value"),
    [
        (2, (0, 1.0, 2.0, 0, 0, 0), 601.0),
        (100, (0, 1.0, 0, 0, 0, 1e-8), 82.0),
        (10, (0, 5.0, 900.0, 0, 0, 0), np.exp(2.0)),
        (16, (0, 7.0, 600.0, 1.0, 0, 0), 7.0 + np.exp(3.0)),
        (101, (0, 1.0, 300.0, 0, 0, 0), np.exp(2.0)),
        (102, (0, 2.0, 1.0, 300.0, 0, 0), 300.0),
        (105, (0, 2.0, 0.5, 400.0, 0.5, 0), 2.0 / 0.5**1.5),
        (106, (400.0, 8.0, 0.5, 0, 0, 0), 4.0),
    ],
)
def test_chemsep_equations_by_hand(number: int, coefficients: tuple[float, ...], value: float) -> None:
    assert chemsep.equation(300.0, number, *coefficients) == pytest.approx(value)


def test_chemsep_zero_is_no_value_and_units() -> None:
    constants = chemsep.table("constants")
    assert not (constants == 0).any().any()
    assert constants.loc["108-88-3", "CriticalTemperature"] == pytest.approx(591.8, abs=0.5)
    viscosity = chemsep.table("LiquidViscosity").loc["108-88-3"]
    row = viscosity[["eqno", "Tc", "A", "B", "C", "D", "E"]]
    assert log10(1e3 * chemsep.equation(298.15, *row)) == pytest.approx(log10(0.555), abs=0.01)
    assert isnan(chemsep.equation(298.15, 999, *row[1:]))
