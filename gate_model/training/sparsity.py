"""Which paths a training step computes: most transfer ratios end up so small that their paths can be left out."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilevel_hpo import ActiveSet
from gate_model.training.methods import relative

__all__ = ["ActivePairs"]


@dataclass(frozen=True)
class ActivePairs(ActiveSet):
    """The paths from sources to targets that are worth their time.

    An inner step computes only the pairs with λ of at least `threshold` that is not 0, and of each target's sources at
    most `top_k`. An outer step computes those with λ of exactly 0 as well, and one in `rotation` of the others, in
    turn, so that every pair gets a hypergradient after at most `rotation` outer steps and can come back. A pair that is
    left out has weight 0 in that step; with threshold 0 and no `top_k` only pairs of weight 0 are, which changes no
    number.

    Args:
        threshold: in units of λ, see `gate_model.training.methods.relative`.
        rotation: outer steps until every pair has had its turn.
        top_k: most sources per target in an inner step; any number when left out.
    """

    top_k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"ActivePairs needs top_k >= 1 or None; got {self.top_k}")

    def inner(self, lambda_: Tensor, turn: int) -> Tensor:
        """Pairs of an inner step, for W as a vector `[T²]`; False for the direct paths."""
        return self._large(lambda_) & (lambda_ != 0)

    def always(self, lambda_: Tensor) -> Tensor:
        """Pairs of every outer step, for W as a vector `[T²]`, and the direct paths."""
        large = self._large(lambda_)
        return large.view(_side(large), -1).fill_diagonal_(True).flatten()

    def _large(self, weights: Tensor) -> Tensor:
        """Pairs that are worth their time, bool `[T²]`."""
        lambda_ = relative(weights.view(_side(weights), -1)).fill_diagonal_(-1.0)
        mask = lambda_ >= self.threshold
        if self.top_k is not None and self.top_k < len(lambda_) - 1:
            largest = lambda_.topk(self.top_k, dim=1).indices
            mask &= torch.zeros_like(mask).scatter_(1, largest, True)
        return mask.flatten()


def _side(pairs: Tensor) -> int:
    """T of `[T²]`."""
    return math.isqrt(pairs.numel())
