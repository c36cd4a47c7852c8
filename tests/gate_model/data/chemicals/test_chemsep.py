"""ChemSep's numbered equations against numbers worked by hand."""

from math import isnan, log10

import numpy as np
import pytest

from gate_model.data.chemicals import chemsep


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
