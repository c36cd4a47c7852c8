"""The directed message-passing network of Yang et al. 2019 (D-MPNN), as chemprop 2 computes it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gate_model.data.molecules.atoms_and_bonds import ATOM_FEATURES, BOND_FEATURES
from gate_model.data.molecules.graphs import Block, GraphBatch

__all__ = ["DirectedMPNN"]


class DirectedMPNN(nn.Module):
    """Maps molecule graphs to z by messages along directed bonds.

    - h⁰_vw = τ(W_i [x_v ‖ e_vw]), τ = ReLU;
    - hᵗ_vw = τ(W_i [x_v ‖ e_vw] + W_h Σ_{u ∈ N(v)∖w} hᵗ⁻¹_uv), t = 1 … depth−1;
    - h_v = τ(W_o [x_v ‖ Σ_{u ∈ N(v)} h_uv] + b);
    - z = W_z [mean of h_v over the atoms, or their sum / `norm` ‖ descriptors] + b_z.

    Directed bonds (and atoms) of the batch with the same surroundings are computed once, and the sums are taken after
    the products with W_h and W_o: this is the same function at a fraction of the cost. For this reason dropout acts
    only on the molecules before the last layer; chemprop drops states of bonds and atoms too.

    Args:
        d: width of z.
        hidden: width of the states of bonds and atoms.
        depth: number of states of a bond, with the first; the graphs must be packed for the same depth.
        n_descriptors: F, width of a molecule's descriptors; 0 if there are none.
        dropout: share of the read-out features of a molecule that is dropped in training mode, 0 to 1.
        norm: divide the sum over the atoms by this number instead of the number of atoms, so that the size of a
            molecule is not lost (chemprop's `NormAggregation`). Choose a typical number of atoms. None: the mean.
    """

    def __init__(
        self,
        d: int = 128,
        hidden: int = 300,
        depth: int = 3,
        n_descriptors: int = 0,
        dropout: float = 0.0,
        norm: float | None = None,
    ) -> None:
        super().__init__()
        self.W_i = nn.Linear(ATOM_FEATURES + BOND_FEATURES, hidden, bias=False)
        self.W_h = nn.Linear(hidden, hidden, bias=False)
        self.W_o = nn.Linear(ATOM_FEATURES + hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.W_z = nn.Linear(hidden + n_descriptors, d)
        self.depth, self.n_descriptors, self.norm = depth, n_descriptors, norm

    def read_out(self, batch: GraphBatch) -> Tensor:
        """Return the mean (or sum / `norm`) of the atoms' states of each molecule, `[B, hidden]`.

        Raises:
            ValueError: the graphs are packed for another depth than the network's.
        """
        if len(batch.steps) != self.depth - 1:
            raise ValueError(f"the graphs are packed for depth {len(batch.steps) + 1}, the network has {self.depth}")
        x_v, e_vw = batch.atom_features.to(self.W_i.weight.dtype), batch.bond_features.to(self.W_i.weight.dtype)
        first = self.W_i(torch.cat([x_v[batch.bonds[:, 0]], e_vw[batch.bonds[:, 1]]], dim=1))
        h = first.relu()
        for step in batch.steps:
            h = _sums(first, self.W_h(h), step).relu()
        of_atom, of_message = self.W_o.weight[:, :ATOM_FEATURES], self.W_o.weight[:, ATOM_FEATURES:]
        roots = functional.linear(x_v, of_atom, self.W_o.bias)
        h_v = _sums(roots, functional.linear(h, of_message), batch.atoms).relu()
        parents, children = batch.molecules.parents, batch.molecules.children
        total = h_v.new_zeros(len(batch), h_v.shape[1]).index_add_(0, parents, h_v.index_select(0, children))
        return total / (batch.molecules.kinds.unsqueeze(1) if self.norm is None else self.norm)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Return z `[B, d]`.

        Raises:
            ValueError: the graphs are packed for another depth, or the number of descriptors is another one.
        """
        readout = self.read_out(batch)
        n_descriptors = 0 if batch.descriptors is None else batch.descriptors.shape[1]
        if n_descriptors != self.n_descriptors:
            raise ValueError(
                f"the batch has {n_descriptors} descriptors per molecule; it must have {self.n_descriptors}"
            )
        if batch.descriptors is not None:
            readout = torch.cat([readout, batch.descriptors.to(readout.dtype)], dim=1)
        z: Tensor = self.W_z(self.dropout(readout))
        return z


def _sums(roots: Tensor, messages: Tensor, block: Block) -> Tensor:
    """Return roots[kind] + Σ of the children's messages, `[n, hidden]`."""
    return roots.index_select(0, block.kinds).index_add_(0, block.parents, messages.index_select(0, block.children))
