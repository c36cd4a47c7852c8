"""The 32 tasks of the chemicals table against the literature, and the cache that holds them."""

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from gate_model.data.chemicals import table as module
from gate_model.data.chemicals.declarations import AVAILABLE, DECLARATIONS
from gate_model.data.chemicals.library import identifiers, numbers, table
from gate_model.data.chemicals.merge import merge
from gate_model.data.chemicals.sources import Column
from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.molecules.smiles import canonical
from gate_model.data.table import DataError, PropertyTable
from gate_model.data.tasks import CATALOGUE

ETHANOL, TOLUENE, NAPHTHALENE, METHANE = "CCO", "Cc1ccccc1", "c1ccc2ccccc2c1", "C"

# CRC Handbook, NIST WebBook, Perry; log10 of 1.074 mPa s, 24.3 and 7.87 kPa.
LITERATURE = [
    (ETHANOL, "DS", 0.785, 0.002),
    (ETHANOL, "HV", 42.3, 0.3),
    (ETHANOL, "VS", np.log10(1.074), 0.01),
    (ETHANOL, "ST", 22.0, 0.3),
    (ETHANOL, "DK", np.log10(24.3), 0.02),
    (ETHANOL, "FP", 286, 2),
    (ETHANOL, "BP", 351.4, 0.5),
    (ETHANOL, "MP", 159, 1),
    (ETHANOL, "RI", 1.361, 0.001),
    (ETHANOL, "LP", -0.31, 0.02),
    (ETHANOL, "VP", np.log10(7.87e3), 0.01),
    (ETHANOL, "CT", 514, 1),
    (ETHANOL, "CTP", 6.14, 0.05),
    (ETHANOL, "CTV", 168, 2),
    (ETHANOL, "CPL", 112.3, 1),
    (ETHANOL, "CPG", 65.6, 0.5),
    (ETHANOL, "MVL", 58.6, 0.5),
    (ETHANOL, "HVC", 38.6, 0.3),
    (ETHANOL, "GEF", -167.9, 1),
    (ETHANOL, "SEF", -277.6, 1),
    (ETHANOL, "SAE", 160.7, 1),
    (ETHANOL, "HC", -1366.8, 1.5),
    (ETHANOL, "NEC", -1235, 2),
    (ETHANOL, "SPA", 26.2, 0.4),
    (ETHANOL, "POL", 5.11, 0.1),
    (ETHANOL, "LF", 284, 2),
    (ETHANOL, "UFT", 314, 2),
    (TOLUENE, "DS", 0.862, 0.003),
    (TOLUENE, "HV", 38.0, 0.3),
    (TOLUENE, "VS", np.log10(0.56), 0.01),
    (TOLUENE, "ST", 27.9, 0.3),
    (TOLUENE, "DM", 0.36, 0.05),
    (TOLUENE, "PAR", 245, 2),
    (TOLUENE, "ROG", 3.47, 0.02),
    (TOLUENE, "HC", -3910, 3),
    (NAPHTHALENE, "MP", 353.4, 0.5),
    (NAPHTHALENE, "CPS", 165.7, 1),
    (NAPHTHALENE, "MVS", 110, 3),
    (NAPHTHALENE, "SEF", 78.5, 1),
    (METHANE, "HC", -890.6, 0.5),
    (METHANE, "SEF", -74.5, 0.2),
    ("CC(=O)O", "HV", 51.6, 1.0),  # of monomers, not 23.4 of the real vapour
]


@pytest.fixture(scope="module")
def frame(chemicals_table: PropertyTable) -> pd.DataFrame:
    return chemicals_table.to_frame().set_index("smiles")


@pytest.fixture(scope="module")
def provenance(chemicals_table: PropertyTable) -> pd.DataFrame:
    return chemicals_table.provenance


@pytest.mark.parametrize(("smiles", "task", "value", "tolerance"), LITERATURE)
def test_literature_values(frame: pd.DataFrame, smiles: str, task: str, value: float, tolerance: float) -> None:
    assert frame.loc[smiles, task] == pytest.approx(value, abs=tolerance)


def test_the_literature_covers_every_task() -> None:
    assert {task for _, task, _, _ in LITERATURE} == set(AVAILABLE)


def test_thirty_two_of_forty_tasks_within_their_bounds(chemicals_table: PropertyTable) -> None:
    assert (len(CATALOGUE), chemicals_table.abbreviations) == (40, AVAILABLE)
    assert set(CATALOGUE) - set(AVAILABLE) == {"AS", "IP", "PKA", "AW", "HF", "HM", "LM", "MAS"}
    assert sum(task.paper or 0 for task in CATALOGUE.values()) == 357_558, "the sum of Table 3"
    assert len(chemicals_table.smiles) > 30_000
    assert np.isfinite(chemicals_table.labels).sum() > 95_000
    for name, values in zip(AVAILABLE, chemicals_table.labels.T, strict=True):
        labelled = values[np.isfinite(values)]
        assert DECLARATIONS[name].low <= labelled.min() <= labelled.max() <= DECLARATIONS[name].high, name


def test_molecules_are_canonical_organic_and_given_once(chemicals_table: PropertyTable) -> None:
    assert "O" not in chemicals_table.smiles, "water holds no carbon"
    assert len(set(chemicals_table.smiles)) == len(chemicals_table.smiles)
    assert all(canonical(smiles) == smiles for smiles in chemicals_table.smiles[::400])


def test_every_label_has_a_declared_source(chemicals_table: PropertyTable, provenance: pd.DataFrame) -> None:
    assert len(provenance) == np.isfinite(chemicals_table.labels).sum()
    declared = {(name, s.name, s.kind) for name in AVAILABLE for s in DECLARATIONS[name].sources}
    assert set(provenance[["task", "source", "kind"]].itertuples(index=False, name=None)) <= declared
    for task in chemicals_table.tasks:
        kinds = set(provenance["kind"][provenance["task"] == task.abbreviation])
        assert task.kind == ("mixed" if len(kinds) > 1 else kinds.pop())
    for name in AVAILABLE:
        names = [source.name for source in DECLARATIONS[name].sources]
        assert len(set(names)) == len(names)


def test_tabulated_labels_stand_in_the_table_they_name(provenance: pd.DataFrame) -> None:
    """For columns: the label of the molecule is the cell of one of its CAS numbers."""
    index = identifiers()
    seen = 0
    for name in ("BP", "RI", "FP", "CTV", "SEF", "DM"):
        for source in DECLARATIONS[name].sources:
            chosen = provenance[(provenance["task"] == name) & (provenance["source"] == source.name)].iloc[::100]
            if not isinstance(source, Column) or chosen.empty:
                continue
            cells = numbers(table(source.table)[source.column]) * source.scale
            for smiles, value in chosen[["smiles", "value"]].itertuples(index=False, name=None):
                candidates = [cas for cas in cells.index[cells == value] if cas in index]
                assert smiles in [canonical(index[cas].smiles) for cas in candidates], (name, source.name, smiles)
                seen += 1
    assert seen > 150


def test_traps(frame: pd.DataFrame, provenance: pd.DataFrame) -> None:
    assert not (frame["BP"] <= frame["MP"]).any(), "reduced pressure, or sublimation"
    assert "TRC" not in {source.name for source in DECLARATIONS["enthalpy"].sources}, "enthalpies at 0 K"
    yaws = provenance[provenance["source"].eq("Yaws") & provenance["task"].isin(["CT", "BP"])]
    formulas = [CalcMolFormula(Chem.MolFromSmiles(smiles)) for smiles in yaws["smiles"]]
    assert len(yaws) > 4000
    shared = yaws.assign(formula=formulas).duplicated(["task", "formula", "value"])
    assert not shared.any(), "an estimate that isomers share"
    density = provenance[provenance["task"] == "DS"].set_index("smiles")
    solid = frame["MP"] > 303.15
    assert not set(density.index[density["source"] == "CRC organic"]) & set(frame.index[solid])


def test_derived_labels_are_off_unless_asked_for(chemicals_table: PropertyTable) -> None:
    plain = load_chemicals()
    assert set(AVAILABLE) - set(plain.abbreviations) == {"POL", "HC", "LF", "UFT"}
    assert "derived" not in set(plain.provenance["kind"])
    assert "derived" not in plain.source
    assert chemicals_table.source.endswith("with derived labels")
    both = chemicals_table.provenance
    expected = both[both["kind"] != "derived"].reset_index(drop=True)
    pd.testing.assert_frame_equal(plain.provenance, expected)
    with pytest.raises(DataError, match="--derived"):
        load_chemicals(["BP", "POL"])
    assert load_chemicals(["POL"], derived=True).tasks[0].kind == "derived"


def test_derived_labels_follow_from_the_others(frame: pd.DataFrame, provenance: pd.DataFrame) -> None:
    derived = provenance[provenance["kind"] == "derived"].set_index("smiles")

    def rows(task: str) -> pd.DataFrame:
        return frame.loc[derived.index[derived["task"] == task]]

    pol = rows("POL")
    n2 = pol["RI"] ** 2
    np.testing.assert_allclose(pol["POL"], (n2 - 1) / (n2 + 2) * pol["MVL"] / (4 / 3 * np.pi * 0.602214076), rtol=1e-9)
    par = rows("PAR")
    np.testing.assert_allclose(par["PAR"], par["MVL"] * par["ST"] ** 0.25)
    spa = rows("SPA")
    np.testing.assert_allclose(spa["SPA"] ** 2, (spa["HV"] - 8.31446261815324 * 0.29815) * 1e3 / spa["MVL"])
    water = (rows("NEC")["NEC"] - rows("NEC")["HC"]) / 44.011496
    np.testing.assert_allclose(water * 2, np.round(water * 2), atol=1e-6)


def test_unknown_and_missing_tasks_are_explained() -> None:
    with pytest.raises(DataError, match="did you mean HV"):
        load_chemicals(["HVX"])
    with pytest.raises(DataError, match="your own file"):
        load_chemicals(["PKA"])


def test_select_and_with_at_least_keep_the_sources_aligned(chemicals_table: PropertyTable) -> None:
    wanted = chemicals_table.select(["VS", "BP"]).with_at_least(2).provenance
    full = chemicals_table.provenance.merge(wanted, on=["smiles", "task"], suffixes=("", "_selected"))
    assert len(full) == len(wanted) > 1000
    for column in ("value", "source", "kind"):
        assert (full[column] == full[f"{column}_selected"]).all()


def test_overlaps_count_shared_molecules(chemicals_table: PropertyTable, frame: pd.DataFrame) -> None:
    overlaps = chemicals_table.overlaps()
    assert overlaps.loc["DS", "BP"] == overlaps.loc["BP", "DS"] == frame[["DS", "BP"]].notna().all(axis=1).sum()
    assert overlaps.loc["DS", "DS"] == frame["DS"].notna().sum()


def test_two_builds_are_identical_to_the_byte() -> None:
    first, second = (merge(["DM", "ROG"]) for _ in range(2))
    assert module._pack(first) == module._pack(second)
    assert first["smiles"].nunique() > 600


def test_a_subset_is_built_to_the_same_labels(provenance: pd.DataFrame) -> None:
    small = merge(["ROG"])
    whole = provenance[provenance["task"] == "ROG"].sort_values("smiles", ignore_index=True)
    pd.testing.assert_frame_equal(small, whole)


@pytest.fixture
def tiny_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """An empty cache and a build of two labels; returns how often it was built."""
    monkeypatch.setenv("GATE_CACHE", str(tmp_path))
    built: list[int] = []

    def merge_two(names: object) -> pd.DataFrame:
        built.append(1)
        columns = ["smiles", "task", "value", "source", "kind"]
        return pd.DataFrame(
            [("CCO", "BP", 351.5, "HEOS", "tabulated"), ("C", "DS", 1.0, "x", "derived")], columns=columns
        )

    monkeypatch.setattr(module, "merge", merge_two)
    return lambda: len(built)


def test_a_damaged_cache_is_built_anew(tiny_cache: Callable[[], int], tmp_path: Path) -> None:
    first = load_chemicals(derived=True)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    assert load_chemicals(derived=True).smiles == first.smiles == ("C", "CCO")
    assert tiny_cache() == 1
    for damaged in (whole[:-1], whole[:200] + b"\0" + whole[201:], b""):
        file.write_bytes(damaged)
        assert load_chemicals(derived=True).smiles == first.smiles
        assert file.read_bytes() == whole
    assert tiny_cache() == 4
    load_chemicals(rebuild=True)
    assert tiny_cache() == 5


def test_the_cache_is_keyed_by_every_module_that_makes_it() -> None:
    rules = {f"gate_model.data.{name}" for name in module._RULES}
    for name in rules:
        source = inspect.getsource(sys.modules[name])
        for package, imported in re.findall(r"^from (gate_model\.data[\w.]*) import (.*)$", source, re.MULTILINE):
            names = {f"{package}.{part.strip()}" for part in imported.split(",")}
            modules = {n for n in names if n in sys.modules} or {package}
            assert modules <= rules | {
                "gate_model.data.chemicals.declarations",
                "gate_model.data.cache",
                "gate_model.data.table",
            }
