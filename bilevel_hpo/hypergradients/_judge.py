"""Check derivatives in λ with first derivatives in θ only."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from bilevel_hpo.hypergradients._cross import Cross
from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["judged"]

SHIFTS = (1e-1, 1e-2, 1e-3, 1e-5, 1e-7)
"""Lengths of the shift of λ relative to that of λ. Long shifts lose no digits, and are exact if λ weighs losses;
with short ones a ReLU hardly ever changes sides. A result that agrees with one of them is right."""


def judged(problem: BilevelProblem, step: InnerStep, u: Params, candidates: Iterable[Cross], tolerance: float) -> Cross:
    """Returns the first of `candidates` whose derivative in λ is right, or the last one, with its error as `judged`.

    They must equal the derivative in λ of s(λ) = ⟨∂L_train/∂θ(θ, λ), u⟩. Along one random direction w that is
    computed from first derivatives as (s(λ + δ·w) − s(λ − δ·w)) / 2δ, two plain gradients for each δ that is tried.
    It is right wherever the step is made of the gradient that the training takes, even if a
    `torch.autograd.Function` returns one that is none (straight-through estimators, gradient reversal).

    Args:
        problem: the problem whose losses are evaluated, in float64.
        step: θ, λ, batch and buffers.
        u: the direction by parameter name; not empty.
        candidates: an iterable of candidates, computed one by one.
        tolerance: the largest error relative to the size of the derivative. One draw of w is small by chance one time
            in so many: it must be far below the required accuracy.
    """
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(step.lambda_.shape, generator=generator).to(step.lambda_)
    length = step.lambda_.norm()
    w = w * torch.where(length > 0, length, 1.0) / w.norm()
    found: list[Tensor] = []
    last: Cross | None = None
    for candidate in candidates:
        t = torch.zeros_like(w) if candidate.lambda_gradient is None else candidate.lambda_gradient.detach()
        t, error = problem.ranks.averaged(t), math.inf
        for number, shift in enumerate(SHIFTS):
            if number == len(found):
                found.append(_derivative(problem, step, u, shift * w) / shift)
            error = min(error, _error(t, w, found[number]))
            if error <= tolerance:
                break
        last = candidate._replace(judged=error)
        if error <= tolerance:
            break
    assert last is not None
    return last


def _derivative(problem: BilevelProblem, step: InnerStep, u: Params, shift: Tensor) -> Tensor:
    """Returns (s(λ + shift) − s(λ − shift)) / 2; NaN if L_train raises an error at such a λ."""
    try:
        ahead, behind = (_slope(problem, step, u, step.lambda_ + sign * shift) for sign in (1, -1))
    except Exception:  # whatever the loss raises for a λ that it is never given
        return torch.full_like(step.loss, math.nan)
    return problem.ranks.averaged((ahead - behind) / 2)


def _slope(problem: BilevelProblem, step: InnerStep, u: Params, lambda_: Tensor) -> Tensor:
    """Returns ⟨∂L_train/∂θ(θ, λ), u⟩ on this rank."""
    step.random.rewind()
    buffers = {name: b.clone() for name, b in step.buffers_before.items()}
    _, g, _ = problem.gradient("train_loss", step.before, buffers, lambda_, step.batch)
    return torch.stack(
        [torch.zeros_like(step.loss), *[(g[name] * ui).sum() for name, ui in u.items() if name in g]]
    ).sum()


def _error(t: Tensor, w: Tensor, along: Tensor) -> float:
    """Returns the relative error of t, estimated along w."""
    difference = (t @ w - along).abs() / w.norm()
    size = torch.maximum(t.norm(), along.abs() / w.norm())
    if difference == 0:
        return 0.0
    error = float(difference / size) * math.sqrt(len(w))  # w is as long as √N normal numbers
    return error if math.isfinite(error) else math.inf
