"""Splits by scaffold and by chance, and splits with fewer molecules to learn from."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gate_model.data.molecules.smiles import scaffold
from gate_model.data.prepared import PreparedData, prepare
from gate_model.data.splits import fewer, random_split, scaffold_split
from gate_model.data.table import DataError, PropertyTable


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_fewer_molecules_to_learn_from_and_the_same_to_judge(small_data: PreparedData) -> None:
    labels, split = small_data.table.labels, small_data.split
    quarter = fewer(split, labels, 0.25, seed=3)
    assert set(quarter.train) < set(split.train)
    assert set(quarter.validation) < set(split.validation)
    assert (len(quarter.train), len(quarter.validation)) == tuple(
        round(0.25 * len(rows)) for rows in (split.train, split.validation)
    )
    assert quarter.selection is split.selection
    assert quarter.test is split.test
    assert np.array_equal(quarter.train, fewer(split, labels, 0.25, seed=3).train)
    assert not np.array_equal(quarter.train, fewer(split, labels, 0.25, seed=4).train)
    assert fewer(split, labels, 1.0, seed=0) is split
    data = prepare(small_data.table, seed=0, split=quarter)
    assert data.standardizer.mean == pytest.approx(small_data.table.labels[quarter.train].mean(0)), "scaled anew"
    with pytest.raises(ValueError, match="fraction=0"):
        fewer(split, labels, 0.0, seed=0)
    rare = np.where(np.arange(len(labels))[:, None] == split.train[0], 1.0, np.nan)
    with pytest.raises(DataError, match="two train labels"):
        fewer(split, rare, 0.5, seed=0)


def test_a_random_split_covers_all_molecules_once() -> None:
    labels = np.full((50, 2), np.nan)
    labels[:, 0] = 1.0
    labels[::4, 1] = 1.0
    split = random_split(labels, seed=1)
    parts = list(vars(split).values())
    assert sorted(np.concatenate(parts).tolist()) == list(range(50))
    assert [len(part) for part in parts] == [35, 5, 5, 5]
    assert all(np.isfinite(labels[part]).any(0).all() for part in parts)
    assert np.array_equal(split.test, random_split(labels, seed=1).test)
    assert not np.array_equal(split.test, random_split(labels, seed=2).test)
    labels[3:, 1] = np.nan
    with pytest.raises(DataError, match="so few labels"):
        random_split(labels, seed=1)


RNG = np.random.default_rng(0)


def test_split_keeps_scaffolds_together(dsbp_table: PropertyTable) -> None:
    table = dsbp_table.with_at_least(3)
    split = scaffold_split(table.smiles, table.labels, seed=1)
    parts = [split.train, split.validation, split.selection, split.test]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(table.smiles)))
    of = [{scaffold(table.smiles[row]) for row in part} - {""} for part in parts]
    assert not any(of[i] & of[j] for i in range(4) for j in range(i))
    assert len(split.train) / len(table.smiles) == pytest.approx(0.7, abs=0.03)
    again = scaffold_split(table.smiles, table.labels, seed=1)
    other = scaffold_split(table.smiles, table.labels, seed=2)
    np.testing.assert_array_equal(split.test, again.test)
    assert not np.array_equal(split.test, other.test)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(40, 120))
def test_every_part_has_every_task(seed: int, n: int) -> None:
    smiles = ["C" * (i + 1) for i in range(n)]
    labels = np.full((n, 2), np.nan)
    labels[:, 0] = 1.0
    labels[RNG.permutation(n)[:12], 1] = 1.0
    split = scaffold_split(smiles, labels, seed=seed)
    assert all(np.isfinite(labels[part]).any(0).all() for part in vars(split).values())


def test_a_task_that_cannot_be_split_is_refused() -> None:
    labels = np.full((40, 2), np.nan)
    labels[:, 0] = 1.0
    labels[:3, 1] = 1.0
    with pytest.raises(DataError, match="task 2 of 2 has 3 labels"):
        scaffold_split(["C" * (i + 1) for i in range(40)], labels, seed=0)
