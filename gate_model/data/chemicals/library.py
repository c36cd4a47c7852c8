"""Reads the tables of `chemicals` in one form: rows are indexed by CAS number, as an integer."""

from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from chemicals.data_reader import data_source

from gate_model.data.chemicals import chemsep
from gate_model.data.chemicals.sources import T_REFERENCE

__all__ = ["identifiers", "numbers", "table"]


def table(name: str) -> pd.DataFrame:
    """Return the table that a source names.

    Rows without a CAS number are left out. If a CAS number is listed twice, the first row is kept. A dict of fitted
    heat capacities becomes the column `298.15 K`, for the fits whose range includes this temperature.
    """
    module, _, rest = name.partition(".")
    if name.startswith("file:"):
        found: Any = data_source(name.removeprefix("file:"))
    elif module == "chemsep":
        found = chemsep.table(rest)
    else:
        attribute, _, key = rest.rstrip("]").partition("[")
        found = getattr(import_module(f"chemicals.{module}"), attribute)
        found = found[key] if key else found
    if isinstance(found, dict):
        values = {cas: f.calculate(T_REFERENCE) for cas, f in found.items() if f.Tmin <= T_REFERENCE <= f.Tmax}
        found = pd.DataFrame({"298.15 K": pd.Series(values, dtype=float)})
    cas = pd.to_numeric(found.index.astype(str).str.replace("-", "").to_numpy(), errors="coerce")
    frame: pd.DataFrame = found.set_axis(cas)[np.isfinite(cas)]
    frame.index = frame.index.astype(np.int64)
    return frame[~frame.index.duplicated()]


def numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """Return the column as floats; a cell that is not a number becomes NaN."""
    return pd.to_numeric(pd.Series(np.asarray(column), index=column.index), errors="coerce").astype(float)


def identifiers() -> dict[int, Any]:
    """Return `smiles`, `MW` (g/mol) and `formula` by CAS number; this takes seconds and about 240 MB."""
    # Imported late: the module builds its index when it is loaded.
    from chemicals.identifiers import get_pubchem_db  # noqa: PLC0415

    database = get_pubchem_db()
    database.finish_loading()
    index: dict[int, Any] = database.CAS_index
    return index
