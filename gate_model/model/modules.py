"""Networks of the same shape, one for each task, stacked in one tensor: every layer is one batched matrix product."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Affine",
    "StackedLinear",
    "StackedMLP",
    "StackedResidual",
    "apply_residual_chain",
    "apply_stacked",
    "per_task",
    "residual_chain",
]

Affine = tuple[Tensor, Tensor]
"""Weight and bias of x ↦ x W + b: `[T, in, out]` and `[T, 1, out]` for all tasks, `[in, out]` and `[out]` for one."""


class StackedLinear(nn.Module):
    """T affine maps, one per task: x_t ↦ x_t W_t + b_t.

    Args:
        n_tasks: T.
        in_features: width of the input.
        out_features: width of the output.

    The parameters are `weight` `[T, in, out]` and `bias` `[T, 1, out]`. They are drawn as in `nn.Linear`: uniform in
    ±1/√in.

    Raises:
        ValueError: a number is below 1.
    """

    def __init__(self, n_tasks: int, in_features: int, out_features: int) -> None:
        super().__init__()
        for name, value in (("n_tasks", n_tasks), ("in_features", in_features), ("out_features", out_features)):
            if value < 1:
                raise ValueError(f"StackedLinear needs {name} of at least 1; got {value}")
        self.weight = nn.Parameter(torch.empty(n_tasks, in_features, out_features))
        self.bias = nn.Parameter(torch.empty(n_tasks, 1, out_features))
        bound = 1 / math.sqrt(in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[T, B, in]` to `[T, B, out]`; the first axis of the input may be expanded."""
        return torch.baddbmm(self.bias, x, self.weight)

    def extra_repr(self) -> str:
        """Return the sizes, for `repr`."""
        n_tasks, in_features, out_features = self.weight.shape
        return f"{n_tasks} tasks, {in_features} -> {out_features}"


class StackedMLP(nn.Module):
    """T multilayer perceptrons of the same shape, with SiLU between the layers and none after the last.

    Args:
        n_tasks: T.
        widths: input width, hidden widths and output width; at least two numbers.

    Raises:
        ValueError: `widths` has fewer than two numbers.
    """

    def __init__(self, n_tasks: int, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"StackedMLP needs at least an input and an output width; got widths={list(widths)}")
        self.layers = nn.ModuleList(StackedLinear(n_tasks, a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[T, B, in]`, or `[B, in]` if all tasks have the same rows, to `[T, B, out]`."""
        return apply_stacked(self.affine(), x)

    def affine(self) -> list[Affine]:
        """Return the weight `[T, in, out]` and bias `[T, 1, out]` of every layer, for the functions below."""
        layers = cast("Iterable[StackedLinear]", self.layers)
        return [(layer.weight, layer.bias) for layer in layers]


class StackedResidual(StackedMLP):
    """T maps x ↦ x + MLP(x) of width k, with one hidden layer of width k. At the start each is the identity.

    Args:
        n_tasks: T.
        k: width of input, hidden layer and output.
    """

    def __init__(self, n_tasks: int, k: int) -> None:
        super().__init__(n_tasks, (k, k, k))
        for parameter in cast(StackedLinear, self.layers[-1]).parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[T, B, k]` to `[T, B, k]`."""
        return x + super().forward(x)


def residual_chain(first: StackedResidual, second: StackedMLP) -> list[Affine]:
    """Return the layers of second∘first for `apply_residual_chain`; two neighbouring affine maps become one.

    There is no SiLU between the last layer (W, b) of `first` and the first layer (V, c) of `second`. With the
    activations s of the hidden layer, (x + s W + b) V + c = [s, x] [W V; V] + (b V + c).
    """
    hidden, (w, b) = first.affine()
    (v, c), *tail = second.affine()
    return [hidden, (torch.cat([torch.bmm(w, v), v], dim=1), torch.baddbmm(c, b, v)), *tail]


def apply_stacked(layers: Sequence[Affine], x: Tensor) -> Tensor:
    """Apply every task's network, with SiLU between the layers: `[T, B, in]` to `[T, B, out]`.

    An input `[B, in]` stands for the same rows in every task. Then the first layer is one product with all T matrices
    side by side.
    """
    (w, b), *rest = layers
    if x.ndim == 2:
        n_tasks, n_in, n_out = w.shape
        side_by_side = torch.addmm(b.reshape(-1), x, w.transpose(0, 1).reshape(n_in, n_tasks * n_out))
        x = side_by_side.view(len(x), n_tasks, n_out).transpose(0, 1)
    else:
        x = torch.baddbmm(b, x, w)
    for w, b in rest:
        x = torch.baddbmm(b, functional.silu(x), w)
    return x


def per_task(layers: Sequence[Affine]) -> list[list[Affine]]:
    """Split stacked layers into one network for each task: T lists of weight `[in, out]` and bias `[out]`.

    Every tensor is split once, so that its gradient is computed once.
    """
    apart = [list(zip(w.unbind(0), b.squeeze(1).unbind(0), strict=True)) for w, b in layers]
    return [list(task) for task in zip(*apart, strict=True)]


def apply_residual_chain(layers: Sequence[Affine], x: Tensor) -> Tensor:
    """Apply one task's `residual_chain` to rows `[N, k]`; returns `[N, out]`. N may be 0."""
    (w, b), (v, c), *rest = layers
    x = torch.addmm(c, torch.cat([functional.silu(torch.addmm(b, x, w)), x], dim=1), v)
    for w, b in rest:
        x = torch.addmm(b, functional.silu(x), w)
    return x
