"""Digits of predictions: two significant ones of σ decide."""

import math

import pandas as pd
import pytest

from gate_model.predictor.headers import Headers
from gate_model.predictor.rounding import cells, decimals, rounded

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("sigma", "expected"),
    [
        (0.0312, 3),
        (4.27, 1),
        (27.5, 0),
        (9.94, 1),
        (9.96, 0),
        (0.0996, 2),
        (0.0994, 3),
        (123.0, -1),
        (99.6, -1),
        (1.0, 1),
    ],
)
def test_two_significant_digits_of_sigma_decide(sigma: float, expected: int) -> None:
    assert decimals(1234.5678, sigma) == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((287.494, 21.785), ["287", "22"]),
        ((0.82801, 0.0931), ["0.828", "0.093"]),
        ((0.82801, 0.0996), ["0.83", "0.10"]),
        ((1234.5, 123.4), ["1230", "120"]),
        ((-0.01, 4.3), ["0.0", "4.3"]),
        ((1234.56789, 0.0), ["1234.57", "0.00"]),
        ((1234.56789, NAN), ["1234.57", ""]),
        ((0.0, 0.0), ["0.00000", "0.00000"]),
        ((NAN, NAN), ["", ""]),
        ((INF, INF), ["inf", "inf"]),
        ((10.04, 1.2, 8.16, 11.92), ["10.0", "1.2", "8.1", "12.0"]),
        ((-5.0, 0.5, -5.31, -4.69), ["-5.00", "0.50", "-5.31", "-4.69"]),
        ((5.0, 0.51, 0.29, 9.71), ["5.00", "0.51", "0.29", "9.71"]),
        ((1230.0, 120.0, 1051.0, 1409.0), ["1230", "120", "1050", "1410"]),
        ((3.14159, 0.2, -INF, INF), ["3.14", "0.20", "-inf", "inf"]),
        ((NAN, NAN, NAN, NAN), ["", "", "", ""]),
    ],
)
def test_a_prediction_has_the_same_decimals_throughout(numbers: tuple[float, ...], expected: list[str]) -> None:
    assert cells(*numbers) == expected


def test_ends_are_rounded_outwards() -> None:
    for low, high in ((1.001, 2.999), (-2.999, -1.001), (0.1 + 0.2, 0.7 + 0.1)):
        _, _, below, above = cells((low + high) / 2, 0.41, low, high)
        assert low - 0.01 < float(below) <= low + 1e-7
        assert high - 1e-7 <= float(above) < high + 0.01


def test_a_table_without_intervals_is_rounded_too() -> None:
    task = Headers("BP [K]", "BP ± [K]", "BP low [K]", "BP high [K]")
    frame = pd.DataFrame(
        {"BP [K]": [300.123, 41.1], "BP ± [K]": [12.3, 0.123], "similarity": [1 / 3, 1.0], "x": ["", "b"]}
    )
    found = rounded(frame, [task])
    assert found.to_numpy().tolist() == [["300", "12", "0.333", ""], ["41.10", "0.12", "1.000", "b"]]
