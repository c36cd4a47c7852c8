"""The message-passing network against a literal loop and chemprop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem
from torch import Tensor
from torch.autograd import forward_ad

from gate_model.data.molecules.graphs import pack
from gate_model.model.message_passing import DirectedMPNN
from tests.gate_model.molecule_cases import SMILES, literal_atom, literal_bond, network


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_CACHE", str(tmp_path))


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


def test_descriptors_reach_z() -> None:
    descriptors = torch.randn(len(SMILES), 4, dtype=torch.float64)
    packed, net, rows = pack(SMILES, descriptors=descriptors), network(n_descriptors=4), torch.tensor([5, 2])
    batch = packed[rows]
    expected = net.W_z(torch.cat([net.read_out(batch), descriptors[rows]], 1))
    torch.testing.assert_close(net(batch), expected)
    with pytest.raises(ValueError, match="0 descriptors per molecule; it must have 4"):
        net(replace(batch, descriptors=None))
    with pytest.raises(ValueError, match=r"descriptors must be \[18, F\]; got \(3, 4\)"):
        pack(SMILES, descriptors=descriptors[:3])


def test_wrong_depth_is_told() -> None:
    with pytest.raises(ValueError, match="packed for depth 2, the network has 3"):
        network()(pack(SMILES, depth=2)[torch.arange(2)])
    with pytest.raises(ValueError, match="depth must be at least 1; got 0"):
        pack(SMILES, depth=0)


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
