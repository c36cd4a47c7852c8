"""Operations that several rules share. A learning rate or weight decay that requires a gradient stays in the graph."""

from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.optimizers._rule import Group, State

__all__ = ["Number", "average", "decayed", "number", "plus", "plus_ratio", "ratio_slope", "root", "signed"]

Number = Any
"""A float, or a tensor that requires a gradient."""


def number(value: float | Tensor) -> Number:
    """Returns `value` as a float; unchanged if it is a tensor that requires a gradient."""
    return value.item() if isinstance(value, Tensor) and not value.requires_grad else value


def plus(p: Tensor, x: Tensor, factor: Number) -> Tensor:
    """p + factor·x."""
    return p + factor * x if isinstance(factor, Tensor) else p.add(x, alpha=factor)


def plus_ratio(p: Tensor, a: Tensor, b: Tensor, factor: Number) -> Tensor:
    """p + factor·a/b."""
    return p + factor * (a / b) if isinstance(factor, Tensor) else p.addcdiv(a, b, value=factor)


def decayed(p: Tensor, g: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Returns θ and g after maximize and weight decay, decoupled (of θ) or not (in g)."""
    g = -g if group["maximize"] else g
    decay = number(group["weight_decay"])
    if not isinstance(decay, Tensor) and decay == 0:
        return p, g
    if group.get("decoupled_weight_decay", False):
        return p.mul(1 - number(group["lr"]) * decay), g
    return p, plus(g, p, decay)


def average(state: State, key: str, like: Tensor) -> Tensor:
    """Returns a running average; zeros before the first gradient."""
    held = state.get(key)
    return torch.zeros_like(like) if held is None else held


def root(x: Tensor) -> Tensor:
    """√x for x >= 0, with derivative 0 at x = 0, where all past gradients are 0 and so is the product it stands in."""
    return x.clamp_min(torch.finfo(x.dtype).tiny).sqrt()


def signed(slope: Tensor, group: Group) -> Tensor:
    """∂θ'/∂g from the slope in what `decayed` makes of g; in place."""
    return slope.neg_() if group["maximize"] else slope


def ratio_slope(
    g: Tensor,
    before: tuple[Tensor | None, Tensor | None],
    betas: tuple[float | Tensor, float | Tensor],
    denominator: tuple[Tensor, float, float, Tensor],
    factor: float,
) -> Tensor:
    """factor · d/dg of m/(r + eps), where m = β₁·m₀ + (1 − β₁)·g, v = β₂·v₀ + (1 − β₂)·g² and r = √v/k.

    The quotient rule leaves (1 − β₁)·v − (1 − β₂)·g·m in the numerator, in which the terms in g² cancel: in the first
    steps all but rounding is lost. Without them it is (1 − β₁)·β₂·v₀ − (1 − β₂)·β₁·g·m₀, and the derivative

        [(1 − β₁)·eps + ((1 − β₁)·β₂·v₀ − (1 − β₂)·β₁·g·m₀) / (k²·r)] / (r + eps)².

    Args:
        g: the gradient.
        before: m₀ (None where β₁ = 0) and v₀; None before the first step.
        betas: β₁, β₂.
        denominator: r, eps, k and r + eps.
        factor: of all elements.
    """
    (m0, v0), (r, eps, k, total) = before, denominator
    beta1, beta2 = (number(beta) for beta in betas)
    constant = float(factor * (1 - beta1) * eps)
    if v0 is None:
        return total.square().reciprocal_().mul_(constant)
    scale = factor / k**2
    slope = v0.mul(scale * (1 - beta1) * beta2)
    if m0 is not None:
        slope.addcmul_(g, m0, value=-scale * (1 - beta2) * beta1)
    return slope.div_(r).add_(constant).div_(total).div_(total)
