"""Packed graphs: batches in any order, surroundings computed once, the cache."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gate_model.data.batches import LabelledMolecules
from gate_model.data.molecules.graphs import PackedGraphs, pack
from tests.gate_model.molecule_cases import SMILES, network


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_CACHE", str(tmp_path))


def test_batch_in_any_order_with_repeats() -> None:
    packed, net = pack(SMILES), network()
    whole = net.read_out(packed[torch.arange(len(packed))])
    rows = torch.tensor([8, 1, 8, 0, 17, 11, 4])
    torch.testing.assert_close(net.read_out(packed[rows]), whole[rows], rtol=0, atol=1e-14)
    assert torch.equal(whole[0], whole[17])
    alone = torch.cat([net.read_out(pack([smiles])[torch.tensor([0])]) for smiles in SMILES])
    torch.testing.assert_close(whole, alone, rtol=0, atol=1e-14)
    assert len(packed[rows]) == 7
    assert net(packed[rows[:0]]).shape == (0, 5)
    with pytest.raises(IndexError):
        packed[torch.tensor([len(SMILES)])]


def test_batches_are_the_inputs_that_labelled_molecules_take() -> None:
    molecules = LabelledMolecules.from_labels(pack(SMILES), torch.zeros(len(SMILES), 2)).to("cpu")
    batch = molecules.batch(torch.tensor([3, 2])).to("cpu")
    assert network()(batch.x).shape == (2, 5)


def test_surroundings_that_look_alike_are_computed_once() -> None:
    batch = pack(["c1ccccc1", "CCCCCCCC", "C1CCCCCCC1"])[torch.arange(3)]
    # One in either ring, and in the chain one for every distance from the chain's end that is still seen.
    assert len(batch.bonds) == 1 + 1 + 2
    assert len(batch.steps[0].kinds) == 1 + 1 + 3
    assert len(batch.steps[1].kinds) == 1 + 1 + 4
    assert len(batch.atoms.kinds) == 1 + 1 + 4
    assert len(batch.molecules.children) == 6 + 8 + 8


def tensors(packed: PackedGraphs) -> list[Tensor]:
    levels = [part for level in (*packed.levels, packed.atoms, packed.molecules) for part in level]
    return [packed.atom_features, packed.bond_features, packed.bonds, *levels]


def same(a: PackedGraphs, b: PackedGraphs) -> bool:
    return all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(tensors(a), tensors(b), strict=True))


def test_cache_is_read_and_a_damaged_one_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    fresh = pack(SMILES, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(18, 18)]
    (file,) = tmp_path.glob("graphs-*.npz")
    file.write_bytes(file.read_bytes()[:-7])
    assert same(pack(SMILES), fresh)
    # From here on only the cache can answer.
    monkeypatch.setattr("gate_model.data.molecules.graphs.molecule_graphs", None)
    assert same(pack(SMILES, progress=lambda done, total: seen.append((done, total))), fresh)
    assert seen[-1] == (18, 18)
