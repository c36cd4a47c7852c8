"""Which paths a training step computes. Most transfer ratios become so small that their paths can be left out."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilevel_hpo import ActiveSet
from gate_model.training.methods import relative

__all__ = ["ActivePairs"]


@dataclass(frozen=True)
class ActivePairs(ActiveSet):
    """The paths from sources to targets that a step computes, chosen by the size of their λ.

    - An inner step (on θ) computes the pairs whose λ is not 0 and at least `threshold`, and at most `top_k` sources of
      each target.
    - An outer step (on λ) also computes the pairs whose λ is exactly 0, and every `rotation`-th of the other pairs, in
      turn. So each pair gets a hypergradient at least once in `rotation` outer steps, and can come back.

    A pair that is left out has weight 0 in that step. With threshold 0 and no `top_k` only pairs of weight 0 are left
    out, which changes no number.

    Args:
        threshold: smallest λ that is kept, in the units of `gate_model.training.methods.relative`.
        rotation: number of outer steps in which every pair has its turn.
        top_k: largest number of sources per target in an inner step, at least 1; None: no limit.
    """

    top_k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k}: it must be at least 1, or None for no limit")

    def inner(self, lambda_: Tensor, turn: int) -> Tensor:
        """Return the pairs of an inner step, bool `[T²]`, for W as a vector `[T²]`; False for the direct paths."""
        return self._large(lambda_) & (lambda_ != 0)

    def always(self, lambda_: Tensor) -> Tensor:
        """Return the pairs of every outer step and the direct paths, bool `[T²]`, for W as a vector `[T²]`."""
        large = self._large(lambda_)
        return large.view(_side(large), -1).fill_diagonal_(True).flatten()

    def _large(self, weights: Tensor) -> Tensor:
        """Return the pairs whose λ is large enough, bool `[T²]`."""
        lambda_ = relative(weights.view(_side(weights), -1)).fill_diagonal_(-1.0)
        mask = lambda_ >= self.threshold
        if self.top_k is not None and self.top_k < len(lambda_) - 1:
            largest = lambda_.topk(self.top_k, dim=1).indices
            mask &= torch.zeros_like(mask).scatter_(1, largest, True)
        return mask.flatten()


def _side(pairs: Tensor) -> int:
    """Return T for a vector `[T²]`."""
    return math.isqrt(pairs.numel())
