"""Which source of a label is believed."""

from math import nan

import numpy as np
import pytest

from gate_model.data.chemicals.choice import choose
from gate_model.data.chemicals.sources import Column, Declaration, Derived

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
