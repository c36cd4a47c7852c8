"""Molecule graphs and the D-MPNN against hand-written features, a literal loop over bonds, and chemprop if there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rdkit import Chem
from torch import Tensor
from torch.autograd import forward_ad

from gate_model.data.batches import LabelledMolecules
from gate_model.data.molecules import atoms_and_bonds as featuriser
from gate_model.data.molecules.atoms_and_bonds import (
    ATOM_FEATURES,
    BOND_FEATURES,
    MoleculeGraphs,
    atom_features,
    bond_features,
    molecule_graphs,
)
from gate_model.data.molecules.graphs import PackedGraphs, pack
from gate_model.data.table import DataError
from gate_model.model.message_passing import DirectedMPNN

# Rings and chains, charges, isotopes, stereo, a dative bond, metals, salts, single atoms, explicit hydrogen.
SMILES = [
    "CCO",
    "C",
    "[Na+].[Cl-]",
    "c1ccccc1",
    "C[C@H](N)C(=O)O",
    "C[C@@H](N)C(=O)O",
    "F/C=C/F",
    "F/C=C\\F",
    "O=[N+]([O-])c1ccc2[nH]ccc2c1",
    "CN(=O)=O",
    "[2H]OC",
    "[H][H]",
    "FS(F)(F)(F)(F)F",
    "C#CC12CC3CC(CC(C3)C1)C2",
    "N->[Cu+2]",
    "*CC",
    "CC(C)(C)c1cc(O)c(Br)cc1I",
    "CCO",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_CACHE", str(tmp_path))


def network(seed: int = 0, **settings: int | float) -> DirectedMPNN:
    torch.manual_seed(seed)
    return DirectedMPNN(**{"d": 5, "hidden": 11, **settings}).double()


def literal_atom(atom: Chem.Atom) -> list[float]:
    """The features one by one, by Table 1 of Yang et al. and the elements of chemprop's v2."""
    hybridisations = [getattr(Chem.HybridizationType, n) for n in ("S", "SP", "SP2", "SP2D", "SP3", "SP3D", "SP3D2")]
    row: list[float] = []
    for value, choices in (
        (atom.GetAtomicNum(), [*range(1, 37), 53]),
        (atom.GetTotalDegree(), list(range(6))),
        (atom.GetFormalCharge(), [-1, -2, 1, 2, 0]),
        (int(atom.GetChiralTag()), list(range(4))),
        (atom.GetTotalNumHs(), list(range(5))),
        (atom.GetHybridization(), hybridisations),
    ):
        row += [float(value == choice) for choice in choices] + [float(value not in choices)]
    return [*row, float(atom.GetIsAromatic()), 0.01 * atom.GetMass()]


def literal_bond(bond: Chem.Bond) -> list[float]:
    types = [Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC]
    row = [0.0, *(float(bond.GetBondType() == kind) for kind in types)]
    stereo = int(bond.GetStereo())
    row += [float(bond.GetIsConjugated()), float(bond.IsInRing())]
    return row + [float(stereo == choice) for choice in range(6)] + [float(stereo > 5)]


def literal_read_out(net: DirectedMPNN, molecule: Chem.Mol) -> Tensor:
    """The equations of Yang et al. for one molecule, bond by bond."""
    x = [torch.tensor(literal_atom(atom)).double() for atom in molecule.GetAtoms()]
    neighbours = [[n.GetIdx() for n in atom.GetNeighbors()] for atom in molecule.GetAtoms()]
    initial = {}
    for v, x_v in enumerate(x):
        for w in neighbours[v]:
            e = torch.tensor(literal_bond(molecule.GetBondBetweenAtoms(v, w))).double()
            initial[v, w] = net.W_i.weight @ torch.cat([x_v, e])
    h = {vw: value.clamp(min=0) for vw, value in initial.items()}
    zero = torch.zeros(net.W_h.in_features, dtype=torch.float64)
    for _ in range(1, net.depth):
        m = {(v, w): sum((h[u, v] for u in neighbours[v] if u != w), zero) for v, w in h}
        h = {vw: (initial[vw] + net.W_h.weight @ m[vw]).clamp(min=0) for vw in h}
    states = []
    for v, x_v in enumerate(x):
        m_v = sum((h[u, v] for u in neighbours[v]), zero)
        states.append((net.W_o.weight @ torch.cat([x_v, m_v]) + net.W_o.bias).clamp(min=0))
    return torch.stack(states).mean(0)


def features_of(smiles: str) -> tuple[NDArray[np.float32], NDArray[np.float32], MoleculeGraphs]:
    graphs = molecule_graphs([smiles])
    return atom_features(graphs.atom_kinds)[graphs.atoms], bond_features(graphs.bond_kinds)[graphs.bonds], graphs


def ones(row: NDArray[np.float32]) -> list[int]:
    return np.flatnonzero(row == 1).tolist()


def test_features_of_acetate_by_hand() -> None:
    atoms, bonds, graphs = features_of("CC(=O)[O-]")
    assert atoms.shape == (4, ATOM_FEATURES) == (4, 72)
    assert bonds.shape == (3, BOND_FEATURES) == (3, 14)
    # Columns: element 0–37, degree 38–44, charge 45–50, chirality 51–55, H 56–61, hybridisation 62–69, aromatic, mass.
    assert ones(atoms[0]) == [5, 38 + 4, 45 + 4, 51, 56 + 3, 62 + 4]
    assert ones(atoms[1]) == [5, 38 + 3, 45 + 4, 51, 56, 62 + 2]
    assert ones(atoms[2]) == [7, 38 + 1, 45 + 4, 51, 56, 62 + 2]
    assert ones(atoms[3]) == [7, 38 + 1, 45 + 0, 51, 56, 62 + 2]
    np.testing.assert_allclose(atoms[:, 71], [0.12011, 0.12011, 0.15999, 0.15999])
    # Columns: none, single, double, triple, aromatic, conjugated, ring, stereo 7–13.
    assert [ones(bond) for bond in bonds] == [[1, 7], [2, 5, 7], [1, 5, 7]]
    assert graphs.ends.tolist() == [[0, 1], [1, 2], [1, 3]]


def test_features_of_unusual_atoms_and_bonds() -> None:
    atoms, bonds, _ = features_of("N->[Cu+2]")
    assert ones(bonds[0])[:1] == [7]  # dative: no column of its own
    assert atoms[1, 28] == 1
    atoms, _, _ = features_of("[Au]")
    assert atoms[0, 37] == 1  # any other element
    assert atoms[0, 71] == pytest.approx(1.96967)
    atoms, bonds, _ = features_of("[2H]OC")
    assert atoms[0, 71] == pytest.approx(0.020141, rel=1e-4)
    left, right = features_of("C[C@H](N)O")[0][1], features_of("C[C@@H](N)O")[0][1]
    assert sorted([ones(left)[3], ones(right)[3]]) == [52, 53]
    assert features_of("F/C=C/F")[1][1, 7:].argmax() != features_of("F/C=C\\F")[1][1, 7:].argmax()


def test_features_equal_the_literal_ones_in_flat_order() -> None:
    graphs = molecule_graphs(SMILES)
    molecules = [Chem.MolFromSmiles(smiles) for smiles in SMILES]
    expected = [literal_atom(atom) for molecule in molecules for atom in molecule.GetAtoms()]
    np.testing.assert_array_equal(atom_features(graphs.atom_kinds)[graphs.atoms], np.array(expected, np.float32))
    expected = [literal_bond(bond) for molecule in molecules for bond in molecule.GetBonds()]
    np.testing.assert_array_equal(bond_features(graphs.bond_kinds)[graphs.bonds], np.array(expected, np.float32))
    assert graphs.n_atoms.tolist() == [molecule.GetNumAtoms() for molecule in molecules]


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_network_equals_the_literal_loop(depth: int) -> None:
    net = network(depth=depth)
    expected = torch.stack([literal_read_out(net, Chem.MolFromSmiles(smiles)) for smiles in SMILES])
    batch = pack(SMILES, depth=depth)[torch.arange(len(SMILES))]
    torch.testing.assert_close(net.read_out(batch), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(net(batch), net.W_z(expected), rtol=0, atol=1e-13)


def test_norm_keeps_the_size() -> None:
    net, batch = network(norm=12.0), pack(["CCO", "c1ccccc1"])[torch.arange(2)]
    torch.testing.assert_close(net.read_out(batch), network().read_out(batch) * torch.tensor([[3 / 12], [6 / 12]]))


def test_gradients_equal_those_of_the_literal_loop() -> None:
    net = network()
    weights = [net.W_i.weight, net.W_h.weight, net.W_o.weight, net.W_o.bias]
    literal = sum(literal_read_out(net, Chem.MolFromSmiles(smiles)).square().sum() for smiles in SMILES)
    ours = net.read_out(pack(SMILES)[torch.arange(len(SMILES))]).square().sum()
    for ours_of, expected in zip(
        torch.autograd.grad(ours, weights), torch.autograd.grad(literal, weights), strict=True
    ):
        torch.testing.assert_close(ours_of, expected, rtol=1e-11, atol=1e-13)


def test_network_equals_chemprop() -> None:
    chemprop = pytest.importorskip("chemprop")
    net = network(hidden=300).float()
    theirs = chemprop.nn.BondMessagePassing()
    for name in ("W_i", "W_h", "W_o"):
        getattr(theirs, name).load_state_dict(getattr(net, name).state_dict())
    featurise = chemprop.featurizers.SimpleMoleculeMolGraphFeaturizer()
    graphs = chemprop.data.BatchMolGraph([featurise(Chem.MolFromSmiles(smiles)) for smiles in SMILES])
    expected = chemprop.nn.MeanAggregation()(theirs(graphs), graphs.batch)
    torch.testing.assert_close(net.read_out(pack(SMILES)[torch.arange(len(SMILES))]), expected, rtol=0, atol=1e-5)


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


def test_only_molecules_without_bonds() -> None:
    net, smiles = network(), ["C", "[Na+].[Cl-]", "O"]
    expected = torch.stack([literal_read_out(net, Chem.MolFromSmiles(one)) for one in smiles])
    torch.testing.assert_close(net.read_out(pack(smiles)[torch.arange(3)]), expected, rtol=0, atol=1e-14)
    assert len(pack([])) == 0


def test_order_of_atoms_does_not_matter() -> None:
    net, generator = network(), np.random.default_rng(0)
    for smiles in SMILES:
        if "@" in smiles:
            continue  # a chiral tag is told relative to the order of the atoms, here as in chemprop
        molecule = Chem.MolFromSmiles(smiles)
        order = generator.permutation(molecule.GetNumAtoms()).tolist()
        other = Chem.MolToSmiles(Chem.RenumberAtoms(molecule, order), canonical=False)
        one, two = net.read_out(pack([smiles, other])[torch.arange(2)])
        assert torch.equal(one, two), (smiles, other)


def test_surroundings_that_look_alike_are_computed_once() -> None:
    batch = pack(["c1ccccc1", "CCCCCCCC", "C1CCCCCCC1"])[torch.arange(3)]
    # One in either ring, and in the chain one for every distance from the chain's end that is still seen.
    assert len(batch.bonds) == 1 + 1 + 2
    assert len(batch.steps[0].kinds) == 1 + 1 + 3
    assert len(batch.steps[1].kinds) == 1 + 1 + 4
    assert len(batch.atoms.kinds) == 1 + 1 + 4
    assert len(batch.molecules.children) == 6 + 8 + 8


def test_descriptors_reach_z() -> None:
    descriptors = torch.randn(len(SMILES), 4, dtype=torch.float64)
    packed, net, rows = pack(SMILES, descriptors=descriptors), network(n_descriptors=4), torch.tensor([5, 2])
    batch = packed[rows]
    expected = net.W_z(torch.cat([net.read_out(batch), descriptors[rows]], 1))
    torch.testing.assert_close(net(batch), expected)
    with pytest.raises(ValueError, match="0 descriptors per molecule; expected 4"):
        net(replace(batch, descriptors=None))
    with pytest.raises(ValueError, match=r"descriptors must be \[18, F\]; got \(3, 4\)"):
        pack(SMILES, descriptors=descriptors[:3])


def test_wrong_depth_is_told() -> None:
    with pytest.raises(ValueError, match="packed for depth 2, the network has 3"):
        network()(pack(SMILES, depth=2)[torch.arange(2)])
    with pytest.raises(ValueError, match="depth must be at least 1; got 0"):
        pack(SMILES, depth=0)


@pytest.mark.parametrize("bad", ["C1CC", ""])
def test_unreadable_smiles_is_named(bad: str) -> None:
    with pytest.raises(DataError, match=f"molecule 1 of the list: '{bad}' is not"):
        pack(["CCO", bad])


def test_forward_mode_agrees_with_finite_differences() -> None:
    net = network(dropout=0.3)
    batch = pack(SMILES)[torch.arange(len(SMILES))]
    values = dict(net.named_parameters())
    directions = {name: torch.randn_like(value) for name, value in values.items()}

    def z(step: float) -> Tensor:
        torch.manual_seed(3)
        moved = {name: value + step * directions[name] for name, value in values.items()}
        return torch.func.functional_call(net, moved, (batch,), strict=True)

    with forward_ad.dual_level():
        torch.manual_seed(3)
        duals = {name: forward_ad.make_dual(value, directions[name]) for name, value in values.items()}
        tangent = forward_ad.unpack_dual(torch.func.functional_call(net, duals, (batch,), strict=True)).tangent
    assert tangent is not None
    numeric = (z(1e-6) - z(-1e-6)) / 2e-6
    torch.testing.assert_close(tangent, numeric, rtol=1e-6, atol=1e-8)


def test_first_and_second_derivatives() -> None:
    net = network(hidden=3, d=2)
    batch = pack(["CCO", "C", "F/C=C/F"])[torch.tensor([0, 1, 2])]
    values = {name: value.detach().requires_grad_() for name, value in net.named_parameters()}

    def z(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(values, parameters, strict=True)), (batch,), strict=True)

    assert torch.autograd.gradcheck(z, tuple(values.values()), fast_mode=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(z, tuple(values.values()), fast_mode=True)


def test_one_seed_gives_one_result_to_the_bit() -> None:
    def trained() -> list[Tensor]:
        net, packed = network(dropout=0.2).float(), pack(SMILES)
        for _ in range(3):
            net.zero_grad()
            net(packed[torch.randperm(len(packed))]).square().mean().backward()
            with torch.no_grad():
                for value in net.parameters():
                    assert value.grad is not None
                    value.sub_(value.grad, alpha=0.1)
        return [value.detach() for value in net.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(trained(), trained(), strict=True))


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


def test_in_parallel_as_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    smiles = [*SMILES, *(("C" * (1 + i % 25)) + ("O" if i % 2 else "N") for i in range(390)), *SMILES]
    serial = molecule_graphs(smiles)
    monkeypatch.setattr(featuriser, "_SERIAL", 0)
    seen: list[tuple[int, int]] = []
    parallel = molecule_graphs(smiles, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(200, 426), (400, 426), (426, 426)]
    for name, expected in vars(serial).items():
        np.testing.assert_array_equal(getattr(parallel, name), expected)
    with pytest.raises(DataError, match="molecule 426 of the list"):
        molecule_graphs([*smiles, "C1"])
