"""The property table from the tables bundled with the `chemicals` library, by the declarations alone."""

import difflib
import inspect
import io
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from chemicals.identifiers import get_pubchem_db

from gate_model.data import cache, molecules
from gate_model.data.declarations import DECLARATIONS, T_REFERENCE, Column, Declaration, Source
from gate_model.data.table import SET_ASIDE_COLUMNS, DataError, PropertyTable
from gate_model.data.tasks import CATALOGUE

__all__ = ["load_chemicals"]

_FORMAT = 1
_REDUCED_PRESSURE_K = 30.0
_CONFLICT = 6.0


def load_chemicals(tasks: Sequence[str] | None = None, *, rebuild: bool = False) -> PropertyTable:
    """The table of `tasks` (all in the catalogue when left out), from the cache if it was built before.

    The cache is keyed by library versions and declarations and checked by its content's hash; a damaged or outdated
    file is built anew. DataError for a task that is not in the catalogue.
    """
    names = list(CATALOGUE) if tasks is None else list(dict.fromkeys(tasks))
    for name in names:
        if name not in CATALOGUE:
            close = difflib.get_close_matches(name.upper(), CATALOGUE, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise DataError(f"task {name!r} is not in the chemicals table, which has {', '.join(CATALOGUE)}{hint}")
    release = version("chemicals")
    rules = inspect.getsource(import_module("gate_model.data.declarations")) + inspect.getsource(molecules)
    key = cache.key_of(
        _FORMAT, release, version("rdkit"), rules, inspect.getsource(import_module(__name__)), sorted(names)
    )
    file = f"chemicals-{key}.csv"
    content = None if rebuild else cache.read(file)
    if content is None:
        content = _build(sorted(names)).to_csv(index=False, lineterminator="\n").encode()
        cache.write(file, content)
    frame = pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=[""])
    labels = frame[names].to_numpy(np.float64)
    kept = np.isfinite(labels).any(1)
    return PropertyTable(
        tuple(CATALOGUE[name] for name in names),
        tuple(frame["smiles"][kept]),
        labels[kept],
        pd.DataFrame(columns=list(SET_ASIDE_COLUMNS)),
        f"chemicals {release}",
    )


def _build(names: list[str]) -> pd.DataFrame:
    """Canonical SMILES, sorted, and one column per task."""
    database = get_pubchem_db()
    database.finish_loading()
    index: dict[int, Any] = database.CAS_index
    # The phase filter and the ranges of some correlations need MP and BP, whichever tasks are asked for.
    needed = [*dict.fromkeys([*names, *(("MP", "BP") if any(_needs_phase(n) for n in names) else ())])]
    mass = pd.Series({cas: entry.MW for cas, entry in index.items() if entry.MW}, dtype=float)
    by_cas: dict[str, pd.Series[float]] = {}
    for name in sorted(needed, key=lambda n: n not in ("MP", "BP")):
        by_cas[name] = _merge(name, DECLARATIONS[name], mass, by_cas)
    cas_numbers = sorted(set().union(*(by_cas[name].index for name in names)) & set(index))
    smiles = {cas: structure for cas in cas_numbers if (structure := molecules.organic(index[cas].smiles or ""))}
    frame = pd.DataFrame({name: by_cas[name] for name in names}).reindex(list(smiles))
    frame.insert(0, "smiles", list(smiles.values()))
    return frame.groupby("smiles", sort=True).median().reset_index()


def _needs_phase(name: str) -> bool:
    declaration = DECLARATIONS[name]
    melting = any(not isinstance(source, Column) and source.range[0] is None for source in declaration.sources)
    return declaration.phase == "liquid" or melting


def _merge(
    name: str, declaration: Declaration, mass: "pd.Series[float]", known: "dict[str, pd.Series[float]]"
) -> "pd.Series[float]":
    """One value per CAS number: the most trusted source, unless the others agree against it."""
    columns = {source.name: _values(source, mass, known) for source in declaration.sources}
    frame = pd.DataFrame(columns)
    frame = frame.where((frame >= declaration.low) & (frame <= declaration.high))
    for source in declaration.sources:
        if isinstance(source, Column) and source.suspect:
            highest = frame.drop(columns=source.name).max(axis=1)
            frame.loc[highest - frame[source.name] > _REDUCED_PRESSURE_K, source.name] = np.nan
    if declaration.phase == "liquid":
        solid = known["MP"].reindex(frame.index) > T_REFERENCE + 5
        gas = known["BP"].reindex(frame.index) < T_REFERENCE - 1
        frame = frame[~(solid | gas)]
    values = frame.to_numpy()
    middle = frame.median(axis=1).to_numpy()
    band = declaration.tolerance * (np.abs(middle) if declaration.relative else np.ones_like(middle))
    count = np.isfinite(values).sum(1)
    agrees = np.abs(values - middle[:, None]) <= band[:, None]
    # Three or more sources: the first that agrees with their median. Two in gross conflict: no label.
    usable = np.isfinite(values) & (agrees | (count < 3)[:, None] | ~agrees.any(1)[:, None])
    chosen = np.where(usable.any(1), usable.argmax(1), 0)
    result = values[np.arange(len(values)), chosen] if len(values) else values[:, 0]
    spread = frame.max(axis=1).to_numpy() - frame.min(axis=1).to_numpy()
    result = np.where((count == 2) & (spread > _CONFLICT * band), np.nan, result)
    return pd.Series(result, index=frame.index, name=name).dropna()


def _values(source: Source, mass: "pd.Series[float]", known: "dict[str, pd.Series[float]]") -> "pd.Series[float]":
    """The values of one source by CAS number as an integer; a CAS number listed twice keeps the first."""
    frame = _table(source.table)
    if isinstance(source, Column):
        return (_numbers(frame[source.column]) * source.scale).dropna()
    low, high = source.range
    coefficients = frame[list(source.coefficients)].apply(_numbers)
    coefficients["mass"] = mass.reindex(coefficients.index)
    start = known["MP"].reindex(frame.index) if low is None else _numbers(frame[low])
    inside = (start <= T_REFERENCE + 0.02) & (_numbers(frame[high]) >= T_REFERENCE - 0.02)
    usable = coefficients[inside & coefficients.notna().all(axis=1)]
    values = [float(source.equation(*row)) for row in usable.to_numpy()]
    return pd.Series(values, index=usable.index, dtype=float).dropna()


def _table(name: str) -> pd.DataFrame:
    """A bundled table, its index turned into integer CAS numbers, rows without one left out."""
    module, _, attribute = name.partition(".")
    attribute, _, key = attribute.rstrip("]").partition("[")
    tables = getattr(import_module(f"chemicals.{module}"), attribute)
    frame: pd.DataFrame = tables[key] if key else tables
    numbers = pd.to_numeric(frame.index.astype(str).str.replace("-", "").to_numpy(), errors="coerce")
    frame = frame.set_axis(numbers)[np.isfinite(numbers)]
    frame.index = frame.index.astype(np.int64)
    return frame[~frame.index.duplicated()]


def _numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    return pd.to_numeric(pd.Series(np.asarray(column), index=column.index), errors="coerce").astype(float)
