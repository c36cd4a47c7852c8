"""A judge of derivatives in λ that knows first derivatives in θ only."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from bilevel_hpo.hypergradients._cross import Cross
from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["judged"]

RELATIVE = 1.5e-8
"""The length of the shift of λ relative to that of λ, √(machine epsilon) of float64. So short that hardly ever a ReLU
changes sides in between."""


def judged(problem: BilevelProblem, step: InnerStep, u: Params, candidates: Iterable[Cross], tolerance: float) -> Cross:
    """The first of `candidates` whose derivative in λ is right, or the last one, with its error as `judged`.

    What they must be is the derivative in λ of s(λ) = ⟨∂L_train/∂θ(θ, λ), u⟩. Along one random direction w that is
    found by first derivatives as (s(λ + δ·w) − s(λ − δ·w)) / 2δ, two plain gradients. It is right wherever the gradient
    that the training takes is what the step is made of, also where a `torch.autograd.Function` returns one that is
    none (straight-through estimators, gradient reversal).

    Args:
        problem: its losses are evaluated; in float64.
        step: θ, λ, batch and buffers.
        u: the direction by name; not empty.
        candidates: asked for one by one.
        tolerance: the largest error relative to the size of the derivative. One draw of w is small by chance one time
            in so many: it must be far below what is wanted.
    """
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(step.lambda_.shape, generator=generator).to(step.lambda_)
    length = step.lambda_.norm()
    delta = RELATIVE * torch.where(length > 0, length, 1.0) / w.norm()
    ahead, behind = (_slope(problem, step, u, step.lambda_ + sign * delta * w) for sign in (1, -1))
    along = problem.ranks.averaged((ahead - behind) / (2 * delta))
    last: Cross | None = None
    for candidate in candidates:
        error = _error(problem, step, candidate, w, along)
        last = candidate._replace(judged=error)
        if error <= tolerance:
            break
    assert last is not None
    return last


def _slope(problem: BilevelProblem, step: InnerStep, u: Params, lambda_: Tensor) -> Tensor:
    """⟨∂L_train/∂θ(θ, λ), u⟩ on this rank."""
    step.random.rewind()
    buffers = {name: b.clone() for name, b in step.buffers_before.items()}
    _, g, _ = problem.gradient("train_loss", step.before, buffers, lambda_, step.batch)
    return torch.stack(
        [torch.zeros_like(step.loss), *[(g[name] * ui).sum() for name, ui in u.items() if name in g]]
    ).sum()


def _error(problem: BilevelProblem, step: InnerStep, found: Cross, w: Tensor, along: Tensor) -> float:
    """Relative to the size of the derivative, by what is known of it along w."""
    t = torch.zeros_like(step.lambda_) if found.lambda_gradient is None else found.lambda_gradient.detach()
    t = problem.ranks.averaged(t)
    difference = (t @ w - along).abs()
    size = torch.maximum(t.norm(), along.abs() / w.norm())
    error = float(difference / size) if difference > 0 else float(difference)
    return error if math.isfinite(error) else math.inf
