"""From declarations to labels: read all sources, turn CAS numbers into molecules, choose one source for each label."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from gate_model.data.chemicals import library
from gate_model.data.chemicals.choice import choose
from gate_model.data.chemicals.declarations import DECLARATIONS
from gate_model.data.chemicals.sources import T_REFERENCE, Column, Correlation, Derived, Solved, Source, inputs
from gate_model.data.molecules.smiles import organic
from gate_model.data.tasks import CATALOGUE

__all__ = ["merge"]

_EDGE_K = 0.02  # ranges end at 298 or 298.2 K
_NEAR_K = 15.0
_REDUCED_PRESSURE_K = 30.0
_BELOW_ESTIMATE_K = 100.0
_ATMOSPHERE = 101325.0


def merge(names: Sequence[str]) -> pd.DataFrame:
    """Return the labels of these tasks, one row for each, sorted by task (in the order of `names`) and SMILES.

    The columns are smiles (canonical), task, value, source and kind.
    """
    builder = _Builder(names)
    parts = []
    for name in names:
        sources = DECLARATIONS[name].sources
        labels = builder.labels(name).sort_index()
        chosen = [sources[code] for code in labels["source"]]
        origin = {"source": [source.name for source in chosen], "kind": [source.kind for source in chosen]}
        parts.append(labels.assign(task=name, **origin).rename_axis("smiles").reset_index())
    return pd.concat(parts, ignore_index=True)[["smiles", "task", "value", "source", "kind"]]


class _Builder:
    """Computes the labels of each task and auxiliary quantity once, when they are first needed."""

    def __init__(self, names: Sequence[str]) -> None:
        index = library.identifiers()
        self._table = cache(library.table)
        cas = sorted(set().union(*(self._candidates(name) for name in _closure(names))) & set(index))
        smiles = [organic(index[number].smiles or "") for number in cas]
        structure = pd.Series(smiles, index=cas, dtype=object)
        self._smiles = structure[structure.notna()]
        kept = self._smiles.index
        self._mass = pd.Series([index[number].MW for number in kept], index=kept, dtype=float)
        self._formula = dict(zip(self._smiles, (index[number].formula for number in kept), strict=True))
        self._known: dict[str, pd.DataFrame] = {}

    def labels(self, name: str) -> pd.DataFrame:
        """Return the labels of a task, indexed by SMILES: value, and the place of its source in the declaration."""
        if name not in self._known:
            self._known[name] = self._choose(name)
        return self._known[name]

    def _candidates(self, name: str) -> set[int]:
        found: set[int] = set()
        for source in DECLARATIONS[name].sources:
            if isinstance(source, Column):
                found |= set(library.numbers(self._table(source.table)[source.column]).dropna().index)
            elif isinstance(source, Correlation):
                own = [column for column in source.coefficients if not column.startswith("@")]
                found |= set(self._table(source.table)[own].dropna(how="all").index)
        return found

    def _choose(self, name: str) -> pd.DataFrame:
        """Choose one value for each molecule, see `choose`."""
        declaration = DECLARATIONS[name]
        columns = {}
        for place, source in enumerate(declaration.sources):
            values = self._values(source)
            if name in CATALOGUE and CATALOGUE[name].transform == "log10":
                values = values[values > 0].transform(np.log10)
            columns[place] = values[values.between(declaration.low, declaration.high)]
        frame = pd.DataFrame(columns)
        if name == "BP":
            frame = self._without_reduced_pressure(frame, declaration.sources)
        table = frame.to_numpy()
        chosen = choose(table, declaration)
        found = np.flatnonzero(chosen >= 0)
        return pd.DataFrame({"value": table[found, chosen[found]], "source": chosen[found]}, index=frame.index[found])

    def _values(self, source: Source) -> "pd.Series[float]":
        """Return the values of a source, indexed by SMILES, in the task's unit before its transform."""
        match source:
            case Column():
                values = self._column(source)
            case Correlation():
                values = self._correlation(source)
            case Derived():
                return self._derived(source)
            case Solved():
                return self._solved(source)
        values = values.replace([np.inf, -np.inf], np.nan).dropna()
        smiles = self._smiles.reindex(values.index)
        # The lower median is always a value of the table.
        by_molecule = values[smiles.notna()].groupby(smiles.dropna()).quantile(0.5, interpolation="lower")
        if source.phase:
            allowed = {source.phase} if source.certain else {source.phase, "unknown"}
            by_molecule = by_molecule[self._phase(by_molecule.index).isin(allowed)]
        if isinstance(source, Column) and source.estimates:
            formula = [self._formula[s] for s in by_molecule.index]
            by_molecule = by_molecule[
                ~pd.DataFrame({"f": formula, "v": by_molecule.to_numpy()}).duplicated(keep=False).to_numpy()
            ]
        return by_molecule

    def _column(self, source: Column) -> "pd.Series[float]":
        frame = self._table(source.table)
        values = library.numbers(frame[source.column]) * source.scale
        if source.temperature:
            values = values[~((library.numbers(frame[source.temperature]) - T_REFERENCE).abs() > _NEAR_K)]
        return values

    def _correlation(self, source: Correlation) -> "pd.Series[float]":
        rows = self._rows(source)
        rows["at"] = self._quantity("BP", rows.index) if source.at == "BP" else T_REFERENCE
        rows = rows[(rows["low"] <= rows["at"] + _EDGE_K) & (rows["high"] >= rows["at"] - _EDGE_K)]
        values = [_evaluate(source, at, row) for at, _, _, *row in rows[["at", *rows.columns[:-1]]].to_numpy()]
        return pd.Series(values, index=rows.index, dtype=float)

    def _rows(self, source: Correlation) -> pd.DataFrame:
        """Return low, high and the coefficients of a correlation, indexed by CAS number."""
        frame = self._table(source.table)
        frame = frame[frame.index.isin(self._smiles.index)]

        def column(name: str) -> "pd.Series[float]":
            return self._quantity(name[1:], frame.index) if name.startswith("@") else library.numbers(frame[name])

        low, high = source.range
        bounds = {"low": column(low) if low else -np.inf, "high": column(high) if high else np.inf}
        return pd.DataFrame(bounds | {name: column(name) for name in source.coefficients}, index=frame.index)

    def _quantity(self, name: str, cas: pd.Index) -> "pd.Series[float]":
        if name == "M":
            return self._mass.reindex(cas)
        return self._smiles.reindex(cas).map(self.labels(name)["value"]).astype(float)

    def _derived(self, source: Derived) -> "pd.Series[float]":
        columns = {}
        for name in source.quantities:
            if name == "M":
                columns[name] = pd.Series(self._mass.to_numpy(), index=self._smiles).groupby(level=0).first()
            elif name == "formula":
                columns[name] = pd.Series(self._formula)
            else:
                columns[name] = self.labels(name)["value"]
        frame = pd.DataFrame(columns).dropna()
        values = [source.equation(*row) for row in frame.itertuples(index=False, name=None)]
        return pd.Series(values, index=frame.index, dtype=float).dropna()

    def _solved(self, source: Solved) -> "pd.Series[float]":
        shares = self.labels(source.limit)["value"]
        found: dict[str, float] = {}
        for vapour in DECLARATIONS["VP"].sources:
            if not isinstance(vapour, Correlation) or vapour.phase == "solid":
                continue
            for cas, low, high, *row in self._rows(vapour).itertuples(name=None):
                smiles = self._smiles[cas]
                if smiles in found or smiles not in shares.index or not low < high:
                    continue
                root = _root(vapour, row, shares[smiles] * _ATMOSPHERE, low, high)
                if root is not None:
                    found[smiles] = root
        return pd.Series(found, dtype=float)

    def _phase(self, smiles: pd.Index) -> "pd.Series[str]":
        """Return the stable phase at 298.15 K, or "unknown" if neither the melting nor the boiling point is known."""
        melting, boiling = (self.labels(name)["value"].reindex(smiles) for name in ("MP", "BP"))
        solid, gas = melting > T_REFERENCE + 1, boiling < T_REFERENCE - 1
        known = melting.notna() | boiling.notna()
        return pd.Series(np.select([solid, gas, known], ["solid", "gas", "liquid"], "unknown"), index=smiles)

    def _without_reduced_pressure(self, frame: pd.DataFrame, sources: Sequence[Source]) -> pd.DataFrame:
        """Remove boiling points that cannot be at normal pressure.

        These are the values that are not above the melting point, and the values of suspect sources that are far below
        another source, or far below Joback's estimate if there is no other source.
        """
        joback = library.numbers(self._table("miscdata.joback_predictions")["Tb"])
        joback = joback[joback.index.isin(self._smiles.index) & (joback < 900)]
        estimate = joback.groupby(self._smiles.reindex(joback.index)).first().reindex(frame.index)
        melting = self.labels("MP")["value"].reindex(frame.index)
        kept = frame.where(~frame.le(melting, axis=0))
        for place, source in enumerate(sources):
            if isinstance(source, Column) and source.suspect:
                others = frame.drop(columns=place).max(axis=1)
                too_low = others - frame[place] > _REDUCED_PRESSURE_K
                too_low |= others.isna() & (estimate - frame[place] > _BELOW_ESTIMATE_K)
                kept.loc[too_low, place] = np.nan
        return kept


def _closure(names: Sequence[str]) -> list[str]:
    """Return these quantities and all others that they need."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in DECLARATIONS and name not in found:
            found[name] = None
            waiting += [needed for source in DECLARATIONS[name].sources for needed in inputs(source)]
    return list(found)


def _evaluate(source: Correlation, temperature: float, row: Sequence[float]) -> float:
    try:
        value = source.equation(temperature, *row) * source.scale
    except (ValueError, ZeroDivisionError, OverflowError):
        return np.nan
    return np.nan if isinstance(value, complex) else float(value)


def _root(source: Correlation, row: Sequence[float], pressure: float, low: float, high: float) -> float | None:
    """Return the temperature in K at which the vapour pressure has this value in Pa; None if it is out of range."""

    def excess(temperature: float) -> float:
        return _evaluate(source, temperature, row) - pressure

    return float(brentq(excess, low, high, xtol=1e-6)) if excess(low) <= 0 <= excess(high) else None
