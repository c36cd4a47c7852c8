"""Reads the ChemSep file that is part of `chemicals` (Artistic License 2.0) as tables indexed by CAS number."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import chemicals
import numpy as np
import pandas as pd
from chemicals.dippr import EQ101, EQ102, EQ105, EQ106

__all__ = ["equation", "table"]

_COEFFICIENTS = ("eqno", "A", "B", "C", "D", "E", "Tmin", "Tmax")


@cache
def _compounds() -> dict[str, ET.Element]:
    (path,) = (Path(chemicals.__file__).parent / "Misc").glob("ChemSep*.xml")
    found: dict[str, ET.Element] = {}
    for compound in ET.parse(path).getroot():
        identifier = compound.find("CAS")
        if identifier is not None and identifier.get("value"):
            found.setdefault(str(identifier.get("value")), compound)
    return found


def table(name: str) -> pd.DataFrame:
    """Return a table of the file, with one row for each compound.

    For the name `constants` there is one column for each constant, in the file's units; a 0 in the file means "no
    value" and becomes NaN. Any other name is a property: then the columns are its coefficients eqno, A–E, Tmin, Tmax
    and Tc, with 0 for those that the file does not give.
    """
    rows: dict[str, dict[str, float]] = {}
    for cas, compound in _compounds().items():
        if name == "constants":
            rows[cas] = {element.tag: _value(element) or np.nan for element in compound if element.get("units")}
        elif (part := compound.find(name)) is not None and part.find("eqno") is not None:
            rows[cas] = {key: _value(part.find(key)) for key in _COEFFICIENTS}
            rows[cas]["Tc"] = _value(compound.find("CriticalTemperature"))
    return pd.DataFrame.from_dict(rows, orient="index")


def _value(element: ET.Element | None) -> float:
    text = element.get("value") if element is not None else None
    return float(text) if text else 0.0


def equation(temperature: float, number: float, *coefficients: float) -> float:
    """Return the value of ChemSep's equation of this number at a temperature in K, in the file's units.

    The coefficients are Tc, A, B, C, D, E. The value is NaN for a number that no property here uses.
    """
    evaluate = _EQUATIONS.get(int(number))
    return float(evaluate(temperature, *coefficients)) if evaluate else np.nan


def _polynomial(t: float, _: float, a: float, b: float, c: float, d: float, e: float) -> float:
    return a + t * (b + t * (c + t * (d + t * e)))


_EQUATIONS: dict[int, Callable[..., float]] = {
    **dict.fromkeys((1, 2, 3, 4, 100), _polynomial),
    10: lambda t, tc, a, b, c, *_: np.exp(a - b / (t + c)),
    16: lambda t, tc, a, b, c, d, e: a + np.exp(b / t + c + d * t + e * t**2),
    101: lambda t, tc, *row: EQ101(t, *row),
    102: lambda t, tc, *row: EQ102(t, *row[:4]),
    105: lambda t, tc, *row: EQ105(t, *row[:4]),
    106: EQ106,
}
