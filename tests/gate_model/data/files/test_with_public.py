"""A user's molecules decide the split; nothing like their selection and test molecules is trained on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from gate_model.data.files.user_csv import read_csv
from gate_model.data.files.with_public import WithPublic, joined_split, load_with_public
from gate_model.data.request import DataRequest
from gate_model.data.splits import Split, scaffold_split
from gate_model.data.table import SET_ASIDE_COLUMNS, DataError, PropertyTable
from gate_model.data.tasks import Task

_RINGS = ("c1ccccc1", "C1CCCCC1", "c1ccncc1", "C1CCOC1", "c1ccsc1")
_CHAINS = ["C" * n + end for n in range(2, 9) for end in ("", "O", "N")]
_MIRRORED = ["C[C@H](O)CC", "C[C@@H](O)CC", "CCC(C)O", "F/C=C/F", "F/C=C\\F", "FC=CF"]
_SUBSTITUTED = ["C" * n + ring for n in range(1, 6) for ring in _RINGS]
POOL = [Chem.CanonSmiles(smiles) for smiles in (*_CHAINS, *_MIRRORED, *_SUBSTITUTED)]


def table(smiles: list[str], name: str) -> PropertyTable:
    """One task, with a label for every molecule."""
    labels = np.arange(float(len(smiles)))[:, None]
    aside = pd.DataFrame(columns=list(SET_ASIDE_COLUMNS))
    return PropertyTable((Task(name, name, "K"),), tuple(smiles), labels, aside, f"{name}.csv")


def alike(smiles: str) -> str:
    """Scaffold without stereochemistry, of an acyclic molecule the molecule itself."""
    flat = Chem.MolFromSmiles(Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False))
    return Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(flat)) or Chem.MolToSmiles(flat)


def names_of(split: Split, smiles: tuple[str, ...]) -> dict[str, str]:
    """The part of every molecule; each molecule is in exactly one."""
    found = {smiles[row]: part for part, rows in vars(split).items() for row in rows}
    assert sum(split.sizes().values()) == len(found) == len(smiles)
    return found


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), size=st.integers(4, 25))
def test_the_users_molecules_keep_their_parts_and_nothing_like_the_held_out_ones_is_trained_on(
    seed: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    mine = table([str(s) for s in rng.permutation(POOL)[:size]], "own")
    both = WithPublic(mine, table([str(s) for s in rng.permutation(POOL)[:45]], "public"))
    numbers = np.concatenate([np.arange(4), rng.integers(0, 4, size - 4)])  # of the parts, each at least once
    own = Split(*(np.flatnonzero(numbers == number) for number in range(4)))
    part, of_mine = {}, names_of(own, mine.smiles)
    try:
        part = names_of(joined_split(both, own, seed=seed), both.joined.smiles)
    except DataError:  # too few public molecules are left
        free = {s for s in both.public.smiles if s not in of_mine and not held(s, of_mine, "selection", "test")}
        assert len(free) < 25
        return
    assert {smiles: part[smiles] for smiles in mine.smiles} == of_mine
    for smiles in set(both.public.smiles) - set(mine.smiles):
        if held(smiles, of_mine, "test"):
            assert part[smiles] == "test"
        elif held(smiles, of_mine, "selection"):
            assert part[smiles] == "selection"


def held(smiles: str, of_mine: dict[str, str], *parts: str) -> bool:
    return alike(smiles) in {alike(own) for own, part in of_mine.items() if part in parts}


def test_a_mirror_image_of_a_test_molecule_is_a_test_molecule() -> None:
    mine = table(["C[C@H](O)CC", "CCN", "CCCN", "Cc1ccncc1"], "own")
    public = ["C[C@@H](O)CC", "CCC(C)O", "CCc1ccncc1", "CCCc1ccccc1", *("C" * n for n in range(1, 41))]
    both = WithPublic(mine, table(public, "public"))
    own = Split(np.array([1]), np.array([2]), np.array([3]), np.array([0]))
    split = names_of(joined_split(both, own, seed=0), both.joined.smiles)
    assert [split[smiles] for smiles in public[:3]] == ["test", "test", "selection"]
    assert list(split.values()).count("train") == pytest.approx(0.8 * 41, abs=3)


@pytest.fixture
def file(tmp_path: Path, chemicals_table: PropertyTable) -> Path:
    """60 molecules of the public table: heat capacities of the gas in the public unit, and a property of our own."""
    cpg = chemicals_table.select(["CPG"])
    path = tmp_path / "my.csv"
    rows = [
        f"{smiles},{value + 1},{n}" for n, (smiles, (value,)) in enumerate(zip(cpg.smiles, cpg.labels, strict=True))
    ]
    path.write_text("smiles,cpg [J/mol/K],own\n" + "\n".join(rows[:600:10]) + "\n")
    return path


def test_the_split_of_the_users_molecules_is_that_of_the_file_alone(file: Path) -> None:
    alone = DataRequest(str(file))
    own = alone.load()
    expected = scaffold_split(own.smiles, own.labels, seed=3)
    request = DataRequest(str(file), tasks=("CPG", "CPL", "own"), public=True)
    joined = request.load()
    found = names_of(request.split(joined, 3), joined.smiles)
    assert {smiles: found[smiles] for smiles in own.smiles} == names_of(expected, own.smiles)
    assert joined.abbreviations == ("CPG", "CPL", "own")


def test_labels_of_the_file_are_used_first_and_overlaps_are_counted(file: Path, chemicals_table: PropertyTable) -> None:
    both = load_with_public(file, ["CPG", "VS", "own"])
    assert both.mine.abbreviations == ("CPG", "own")
    overlap = both.overlap()
    public = chemicals_table.select(["VS", "CPG"])
    rows = [public.smiles.index(smiles) for smiles in both.mine.smiles]
    assert overlap.molecules == overlap.columns["CPG"] == 60
    assert overlap.public_labels == 60 + np.isfinite(public.labels[rows, 0]).sum()
    assert "own" not in overlap.columns
    joined = both.joined
    labels = joined.labels[both.rows()][:, [joined.abbreviations.index(name) for name in both.mine.abbreviations]]
    assert np.array_equal(labels, both.mine.labels)
    assert [joined.smiles[row] for row in both.rows()] == list(both.mine.smiles)


def test_tasks_limit_the_side_that_they_name(file: Path, chemicals_table: PropertyTable) -> None:
    def names(*tasks: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        both = load_with_public(file, tasks)
        return both.mine.abbreviations, both.public.abbreviations

    assert names("VS", "CPL") == (("CPG", "own"), ("VS", "CPL"))
    assert names("own") == (("own",), chemicals_table.abbreviations)
    assert names("CPG") == (("CPG",), ("CPG",))
    with pytest.raises(DataError, match="no column 'nothing'"):
        names("nothing")


def test_at_least_counts_the_labels_of_each_table(file: Path) -> None:
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:31], *(line.rpartition(",")[0] + "," for line in lines[31:])]))
    both = load_with_public(file, ["CPL", "VS"], at_least=2)
    assert len(both.mine.smiles) == 30
    assert np.isfinite(both.public.labels).all()


def test_one_column_is_enough_and_another_unit_is_refused(tmp_path: Path, chemicals_table: PropertyTable) -> None:
    smiles = chemicals_table.smiles[:1000:25]
    path = tmp_path / "my.csv"
    for header, message in (("own", ""), ("BP [degC]", "'BP' is in 'degC'")):
        path.write_text(f"smiles,{header}\n" + "\n".join(f"{s},{n}" for n, s in enumerate(smiles)))
        if message:
            with pytest.raises(DataError, match=message):
                load_with_public(path, ["VS"])
        else:
            assert load_with_public(path, ["VS"]).mine.abbreviations == ("own",)
    with pytest.raises(DataError, match=r"1 usable task\(s\) \(BP\); there must be at least 2"):
        read_csv(path)


def test_the_identity_of_a_run_loads_its_tables_again(file: Path) -> None:
    request = DataRequest(str(file), tasks=("VS", "own"), public=True)
    table = request.load()
    identity = request.identity(table)
    assert identity["with"] == "chemicals"
    assert DataRequest.from_identity(identity) == request
    assert "with" not in DataRequest(str(file)).identity(table)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (DataRequest(public=True), "--with chemicals is for --data FILE.csv"),
        (DataRequest("my.csv", derived=True, public=True), "--derived works with --data chemicals only"),
        (DataRequest("my.csv", join="x.csv", public=True), r"--join x\.csv works with --data chemicals only"),
        (DataRequest("missing.csv", public=True), r"missing\.csv: no such file"),
    ],
)
def test_what_does_not_go_together_is_refused(request_: DataRequest, message: str) -> None:
    with pytest.raises(DataError, match=message):
        request_.load()
