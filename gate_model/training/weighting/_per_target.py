"""The loss of each target and its gradient in the shared embedding, computed in one pass for all targets."""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.training.weighting._rule import target_weights

__all__ = ["TargetGradients", "target_gradients", "target_losses"]


def target_losses(model: GATE, loss: TrainLoss, batch: Batch, w: Tensor, lambda_: float) -> tuple[Tensor, Tensor]:
    """Run the backward pass of L_train with weights w, and return L_train and the L_t `[T]`, both detached.

    L_train is linear in w, so L_t is its derivative in w_t and comes from the same backward pass.

    Args:
        model: the network; gradients are added to its parameters' `grad`.
        loss: L_train as a function of W `[T, T]`.
        batch: molecules and labels.
        w: weights of the targets `[T]`.
        lambda_: weight of the mapping losses in L_t.
    """
    w = w.detach().clone().requires_grad_()
    pairs = None if lambda_ else torch.zeros(len(w), len(w), dtype=torch.bool)
    total = loss(model, target_weights(w, lambda_), batch, pairs)
    total.backward()  # type: ignore[no-untyped-call]
    return total.detach(), cast(Tensor, w.grad)


class TargetGradients(NamedTuple):
    """The gradients of one training step at the output z of the embedding."""

    z: Tensor
    """embedding(x) `[B, d]`; a backward pass from here goes into the embedding."""
    losses: Tensor
    """L_t `[T]`."""
    of_z: Tensor
    """∂(w_t L_t)/∂z `[T, B, d]`."""
    rest_of_z: Tensor
    """Gradient of the geometric terms in z `[B, d]`."""
    total: Tensor
    """L_train."""


def target_gradients(model: GATE, loss: TrainLoss, batch: Batch, w: Tensor, lambda_: float) -> TargetGradients:
    """Return the exact gradient of every target's loss in z, without a backward pass for each target.

    Each molecule enters the networks of the tasks in one row for each target that it has a label of, so that no row
    serves two targets. One backward pass over the sum of all losses then leaves each target's gradient in its own rows.
    Afterwards the parameters of the task networks hold the gradient of L_train; those of the embedding hold nothing
    yet.
    """
    z = model.embed(batch.x)
    behind = cast(GATE, _BehindEmbedding(model))
    losses, of_z = _direct(model, z, batch, w)
    if lambda_:
        mapping, of_mapping = _mapping(behind, loss, z, batch, w, lambda_)
        losses, of_z = losses + mapping, of_z + of_mapping
    leaf = z.detach().requires_grad_()
    nothing = torch.zeros(len(w), len(w))
    geometry = loss(cast(nn.Module, behind), nothing, Batch(leaf, batch.y, batch.mask), nothing.bool())
    if geometry.requires_grad:
        geometry.backward()  # type: ignore[no-untyped-call]
    rest = torch.zeros_like(z) if leaf.grad is None else leaf.grad
    return TargetGradients(z, losses, of_z, rest, (w * losses).sum() + geometry.detach())


class _BehindEmbedding:
    """The part of GATE behind the embedding: the `x` of a batch is z itself."""

    def __init__(self, gate: GATE) -> None:
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gate, name)

    def embed(self, z: Tensor) -> Tensor:
        return z


def _direct(model: GATE, z: Tensor, batch: Batch, w: Tensor) -> tuple[Tensor, Tensor]:
    """Return l_reg `[T]` and its weighted gradient in z `[T, B, d]`; every target has its own copy of z."""
    copies = z.detach().expand(model.n_tasks, *z.shape).clone().requires_grad_()
    mask = batch.mask.T
    squared = torch.where(mask, model.regress(model.encode(copies)) - batch.y.T, 0).square()
    losses = squared.sum(1) / mask.sum(1).clamp_min(1)
    (w * losses).sum().backward()  # type: ignore[no-untyped-call]
    return losses.detach(), cast(Tensor, copies.grad)


def _mapping(
    behind: GATE, loss: TrainLoss, z: Tensor, batch: Batch, w: Tensor, lambda_: float
) -> tuple[Tensor, Tensor]:
    """Return λ·c Σ_s l_map[t, s] `[T]` and its weighted gradient in z `[T, B, d]`; every label has its own row."""
    molecules, targets = batch.mask.nonzero(as_tuple=True)
    rows = z.detach()[molecules].requires_grad_()
    mask = torch.nn.functional.one_hot(targets, len(w)).bool()
    apart = Batch(rows, torch.where(mask, batch.y[molecules], 0), mask)
    weights = target_weights(w, lambda_).fill_diagonal_(0.0).requires_grad_()
    loss.lambda_terms(cast(nn.Module, behind), weights, apart).backward()  # type: ignore[no-untyped-call]
    of_z = z.new_zeros(len(w), *z.shape).index_put_((targets, molecules), cast(Tensor, rows.grad))
    per_pair = cast(Tensor, weights.grad).fill_diagonal_(0.0)
    return lambda_ * per_pair.sum(1), of_z
