"""The mapping losses of all pairs of tasks (Eq. 8), the only part of GATE whose cost grows with T².

For each target t, the molecules that carry its label are packed, with their points m_s of all sources s, into one
block of rows. Then ψ_t and h_t need one matrix product per layer, and nothing is padded. The last layer of ψ_t and the
first layer of h_t are multiplied into one beforehand (`residual_chain`); this joint layer reads the hidden activations
of ψ_t and, beside them, the points m_s.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.modules import Affine, apply_residual_chain, per_task, residual_chain

__all__ = ["logarithm", "mapping_losses", "weighted_mapping"]

_LEAST = 1e-3


def mapping_losses(model: GATE, m: Tensor, batch: Batch) -> Tensor:
    """Return l_map `[T, T]` without λ, Eq. 8; the diagonal is 0.

    Args:
        model: the network.
        m: the points φ_s(encoder_s(z)) on M of every source s, `[T, B, k]`.
        batch: labels `[B, T]`.
    """
    return _path_losses(_blocks(batch, None), _points(m), _layers(model), model.n_tasks)


def logarithm(losses: Tensor) -> Tensor:
    """Return log(l + 10⁻³), and 0 where there is no label.

    10⁻³ is the loss of a prediction that is off by 3 % of the labels' standard deviation.
    """
    return torch.where(losses == 0, 0, torch.log(losses + _LEAST))


def weighted_mapping(
    model: GATE, weights: Tensor, m: Tensor, batch: Batch, pairs: Tensor | None = None, *, relative: bool = False
) -> Tensor:
    """Return Σ_{t≠s} W[t, s] l_map[t, s], a scalar. The diagonal of W is not used.

    In a training step (reverse mode) the gradient is computed together with the value, one target after another, so
    that no activation is stored. In all other cases plain torch operations are used.

    Args:
        model: the network.
        weights: W `[T, T]`.
        m: points on M `[T, B, k]`, as in `mapping_losses`.
        batch: labels `[B, T]`.
        pairs: the pairs to sum over, bool `[T, T]`; None: all. The other pairs cost nothing, and the derivative in
            their weights is 0.
        relative: take the `logarithm` of every l_map[t, s].
    """
    points, layers = _points(m), _layers(model)
    tensors = [points, *(tensor for affine in layers for tensor in affine)]
    in_transform = torch._C._are_functorch_transforms_active()
    blocks = _blocks(batch, pairs)
    if in_transform or _has_tangent([weights, *tensors]):
        losses = _path_losses(blocks, points, layers, model.n_tasks)
    elif torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        total: Tensor = _ValueWithGradient.apply(weights, blocks, relative, *tensors)  # type: ignore[no-untyped-call]
        return total
    else:
        losses = _constant_losses(blocks, points, tensors[1:], model.n_tasks)
    return (weights * (logarithm(losses) if relative else losses)).sum()


class _Block(NamedTuple):
    """The rows of one target: n molecules that carry its label, times S sources."""

    target: int
    sources: Tensor
    """The sources, int64 `[S]`."""
    rows: Tensor
    """Numbers of the rows among the points `[B*T, k]`, molecule by molecule: int64 `[n*S]`."""
    y: Tensor
    """Labels `[n, 1]`."""


class _Rows(NamedTuple):
    """Memory for the n·S rows of a block. All blocks use the same few megabytes."""

    inputs: Tensor
    """Inputs of the joint layer, `[n*S, 2k]`: `activated` beside `points`."""
    activated: Tensor
    """SiLU of `hidden`, `[n*S, k]`."""
    points: Tensor
    """m_s, `[n*S, k]`."""
    hidden: Tensor
    """ψ_t's hidden layer before its SiLU, `[n*S, k]`."""
    head: Tensor
    """h_t's hidden layer before its SiLU, `[n*S, k]`."""
    head_activated: Tensor
    """SiLU of `head`, with the same shape."""
    y: Tensor
    """Predictions ŷ, `[n*S, 1]`."""


class _Buffers:
    """Memory that is allocated once and used by all blocks in turn."""

    def __init__(self, blocks: Sequence[_Block], points: Tensor, layers: Sequence[Affine]) -> None:
        longest = max((len(block.rows) for block in blocks), default=0)
        self._k = points.shape[1]
        widths = (2 * self._k, self._k, layers[1][0].shape[-1], layers[1][0].shape[-1], 1)
        self._buffers = [points.new_empty(longest, width) for width in widths]

    def of(self, n: int) -> _Rows:
        """Return the memory for n rows."""
        inputs, hidden, head, head_activated, y = (buffer[:n] for buffer in self._buffers)
        return _Rows(inputs, inputs[:, : self._k], inputs[:, self._k :], hidden, head, head_activated, y)


def _blocks(batch: Batch, pairs: Tensor | None) -> list[_Block]:
    """Return one block for each target with a label in the batch, for all pairs or for those in `pairs`."""
    n_tasks, device = batch.y.shape[1], batch.y.device
    wanted = torch.ones(n_tasks, n_tasks, dtype=torch.bool) if pairs is None else pairs.to("cpu", copy=True)
    wanted.fill_diagonal_(False)
    counts: list[int] = batch.mask.sum(0).tolist()
    molecules = torch.split(batch.mask.T.nonzero()[:, 1], counts)
    labels = torch.split(batch.y.T[batch.mask.T], counts)
    sources = torch.split(wanted.nonzero()[:, 1].to(device), wanted.sum(1).tolist())
    return [
        _Block(t, sources[t], (molecules[t][:, None] * n_tasks + sources[t]).flatten(), labels[t][:, None])
        for t in range(n_tasks)
        if counts[t] and len(sources[t])
    ]


def _points(m: Tensor) -> Tensor:
    """Reshape `[T, B, k]` to `[B*T, k]`, so that the points of one molecule are in consecutive rows."""
    return m.transpose(0, 1).reshape(-1, m.shape[2])


def _layers(model: GATE) -> list[Affine]:
    """Return the layers of h_t∘ψ_t of every task."""
    return residual_chain(model.psi, model.head)


def _block_losses(block: _Block, points: Tensor, layers: Sequence[Affine]) -> Tensor:
    """Return MSE(y_t, h_t(ψ_t(m_s))) for the sources of a block `[S]`; `points` are its rows `[n*S, k]`."""
    predictions = apply_residual_chain(layers, points).view(-1, len(block.sources))
    return (predictions - block.y).square().mean(0)


def _path_losses(blocks: Sequence[_Block], points: Tensor, layers: Sequence[Affine], n_tasks: int) -> Tensor:
    """Return l_map `[T, T]` of the pairs in `blocks`, and 0 elsewhere.

    Only plain torch operations are used, so the result can be differentiated in every mode and more than once.
    """
    losses = points.new_zeros(n_tasks * n_tasks)
    if not blocks:
        return losses.view(n_tasks, n_tasks)
    networks = per_task(layers)
    values = [
        _block_losses(block, rows, networks[block.target])
        for block, rows in zip(blocks, _gathered(points, blocks), strict=True)
    ]
    cells = torch.cat([block.target * n_tasks + block.sources for block in blocks])
    return losses.index_add(0, cells, torch.cat(values)).view(n_tasks, n_tasks)


@torch.no_grad()
def _constant_losses(blocks: Sequence[_Block], points: Tensor, affine: Sequence[Tensor], n_tasks: int) -> Tensor:
    """Return the same as `_path_losses` when only W is differentiated; all blocks use the same few megabytes."""
    losses = points.new_zeros(n_tasks, n_tasks)
    buffers = _Buffers(blocks, points, _pairs(affine))
    for block in blocks:
        layers = _pairs([tensor[block.target] for tensor in affine])
        errors = _errors(block, points, buffers.of(len(block.rows)), layers)
        losses[block.target, block.sources] = errors.square_().mean(0)
    return losses


def _errors(block: _Block, points: Tensor, rows: _Rows, layers: Sequence[Affine]) -> Tensor:
    """Return ŷ − y of every path of a block `[n, S]`, stored in `rows.y`; the activations stay in `rows`."""
    (w, b), (v, c), (u, d) = layers
    rows.points.copy_(points.index_select(0, block.rows))
    torch.ops.aten.silu(torch.addmm(b, rows.points, w, out=rows.hidden), out=rows.activated)
    torch.ops.aten.silu(torch.addmm(c, rows.inputs, v, out=rows.head), out=rows.head_activated)
    return torch.addmm(d, rows.head_activated, u, out=rows.y).view(-1, len(block.sources)).sub_(block.y)


def _gathered(points: Tensor, blocks: Sequence[_Block]) -> Iterator[Tensor]:
    """Return the rows of every block. If they need a gradient they are selected at once, otherwise one by one."""
    if not points.requires_grad:
        return (points.index_select(0, block.rows) for block in blocks)
    packed = points.index_select(0, torch.cat([block.rows for block in blocks]))
    return iter(torch.split(packed, [len(block.rows) for block in blocks]))


def _has_tangent(tensors: Sequence[Tensor]) -> bool:
    unpacked = (forward_ad.unpack_dual(tensor) for tensor in tensors)  # type: ignore[no-untyped-call]
    return any(dual.tangent is not None for dual in unpacked)


class _ValueWithGradient(torch.autograd.Function):
    """Computes Σ W[t, s] l_map[t, s], or the same sum of logarithms, and its gradient in the same pass.

    The rows and activations of a block take a few megabytes and are used while they are in the processor's cache.
    Stored for a backward pass, those of all blocks would take hundreds of megabytes, and to allocate, write and read
    them would take longer than the matrix products. A second derivative is computed by the plain operations.
    """

    @staticmethod
    def forward(
        ctx: Any, weights: Tensor, blocks: list[_Block], relative: bool, points: Tensor, *affine: Tensor
    ) -> Tensor:
        gradients = [torch.zeros_like(tensor) for tensor in (points, *affine)]
        buffers = _Buffers(blocks, points, _pairs(affine))
        losses = torch.zeros_like(weights)
        of_points, *of_affine = gradients
        for block in blocks:
            t, rows = block.target, buffers.of(len(block.rows))
            losses[t, block.sources], of_rows = _block_gradient(
                block,
                weights[t, block.sources],
                points,
                rows,
                _pairs([tensor[t] for tensor in affine]),
                _pairs([tensor[t] for tensor in of_affine]),
                relative=relative,
            )
            of_points.index_add_(0, block.rows, of_rows)
        ctx.blocks, ctx.relative, ctx.gradients = blocks, relative, [losses, *gradients]
        ctx.save_for_backward(weights, points, *affine)
        return (weights * losses).sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if not torch.is_grad_enabled():
            of_weights, *of_tensors = (grad * gradient for gradient in ctx.gradients)
            return (of_weights, None, None, *of_tensors)
        weights, points, *affine = ctx.saved_tensors
        tensors = [weights, points, *affine]
        wanted = [tensor for tensor in tensors if tensor.requires_grad]
        losses = _path_losses(ctx.blocks, points, _pairs(affine), len(weights))
        total = (weights * (logarithm(losses) if ctx.relative else losses)).sum()
        found = iter(torch.autograd.grad(total, wanted, grad, create_graph=True, materialize_grads=True))
        of_weights, *of_tensors = (next(found) if tensor.requires_grad else None for tensor in tensors)
        return (of_weights, None, None, *of_tensors)


def _block_gradient(
    block: _Block,
    weights: Tensor,
    points: Tensor,
    rows: _Rows,
    layers: Sequence[Affine],
    gradients: Sequence[Affine],
    *,
    relative: bool,
) -> tuple[Tensor, Tensor]:
    """Return l_map[t, sources] of one target t `[S]`, and the gradient of Σ_s W[t, s] l_map[t, s] in its points.

    The gradient has shape `[n*S, k]`. No new memory is allocated.

    Args:
        block: the rows of the target.
        weights: W[t, sources], `[S]`.
        points: m_s of all molecules and sources, `[B*T, k]`.
        rows: memory to work in.
        layers: the layers of h_t∘ψ_t, from `residual_chain`.
        gradients: tensors of the same shapes, into which the gradients in `layers` are written.
        relative: take the logarithm of every l_map[t, s].
    """
    (w, _), (v, _), (u, _) = layers
    errors = _errors(block, points, rows, layers)
    value = errors.square().mean(0)
    if relative:
        weights, value = weights / (value + _LEAST), logarithm(value)
    grad = errors.mul_(weights * (2 / len(block.y))).view(-1, 1)
    of_hidden, of_joint, of_last = gradients
    _of_layer(of_last, rows.head_activated, grad)
    grad = torch.mm(grad, u.T, out=rows.head_activated)
    grad = torch.ops.aten.silu_backward(grad, rows.head, grad_input=grad)
    _of_layer(of_joint, rows.inputs, grad)
    of_activated = torch.mm(grad, v[: w.shape[1]].T, out=rows.activated)
    of_activated = torch.ops.aten.silu_backward(of_activated, rows.hidden, grad_input=rows.hidden)
    _of_layer(of_hidden, rows.points, of_activated)
    of_points = torch.mm(grad, v[w.shape[1] :].T, out=rows.head)
    return value, torch.addmm(of_points, of_activated, w.T, out=of_points)


def _of_layer(gradient: Affine, inputs: Tensor, grad: Tensor) -> None:
    """Compute the gradient in a layer's weight and bias from the gradient in its outputs."""
    torch.mm(inputs.T, grad, out=gradient[0])
    torch.sum(grad, 0, out=gradient[1].squeeze(0))


def _pairs(tensors: Sequence[Tensor]) -> list[Affine]:
    """Turn [w, b, w, b, …] into [(w, b), (w, b), …]."""
    return list(zip(tensors[::2], tensors[1::2], strict=True))
