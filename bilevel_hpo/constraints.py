"""Raw parameter <-> λ: where λ may live, and how it is parametrised there."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Box", "Budget", "Constraint", "Positive"]


class Constraint(ABC):
    """A map raw ↦ λ onto the allowed set, with its inverse.

    The learner computes dL_val/dλ, applies the chain rule of `forward` once, steps on raw and then calls
    `project_`; whatever raw is, `forward(raw)` lies in the allowed set.
    """

    @abstractmethod
    def forward(self, raw: Tensor) -> Tensor:
        """λ for an unconstrained `raw` of the same shape; differentiable."""

    @abstractmethod
    def inverse(self, lambda_: Tensor) -> Tensor:
        """The raw values that give `lambda_`; ValueError where λ lies outside the allowed set."""

    def project_(self, raw: Tensor) -> None:  # noqa: B027
        """Move `raw` in place back to where `forward` has a useful gradient; nothing to do for smooth maps."""


class Box(Constraint):
    """low ≤ λ ≤ high by projection: raw is λ itself, clamped after every outer step.

    This is the paper's setting (λ ← λ − Adam(g) until a bound is reached), and the bounds can be reached
    exactly: λ = 0 really switches a loss off.
    """

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        if not low < high:
            raise ValueError(f"Box needs low < high; got low={low}, high={high}")
        self.low, self.high = float(low), float(high)

    def forward(self, raw: Tensor) -> Tensor:
        """λ = clamp(raw, low, high)."""
        return raw.clamp(self.low, self.high)

    def inverse(self, lambda_: Tensor) -> Tensor:
        """Raw = λ."""
        _refuse_outside(lambda_, (lambda_ >= self.low) & (lambda_ <= self.high), repr(self))
        return lambda_.clone()

    def project_(self, raw: Tensor) -> None:
        """Clamp `raw` into the box."""
        raw.clamp_(self.low, self.high)

    def __repr__(self) -> str:
        return f"Box({self.low:g}, {self.high:g})"


class Positive(Constraint):
    """λ > 0 without an upper bound: λ = softplus(raw).

    Do not use it to let λ grow freely under a one-step hypergradient: more loss weight lets the next step go
    further, which is not the same as helping in the end. Use a `Budget` there.
    """

    def forward(self, raw: Tensor) -> Tensor:
        """λ = log(1 + exp(raw))."""
        return functional.softplus(raw)

    def inverse(self, lambda_: Tensor) -> Tensor:
        """Raw = λ + log(1 − exp(−λ)), stable for small and large λ."""
        _refuse_outside(lambda_, lambda_ > 0, repr(self))
        return lambda_ + torch.log(-torch.expm1(-lambda_))

    def __repr__(self) -> str:
        return "Positive()"


class Budget(Constraint):
    """The weights along the last axis sum to `total`: λ[t] = total · softmax(raw[t]).

    For `TransferRatios` that is one budget per target, shared by its direct path (the diagonal) and all its
    sources: a source gains only if its gradient serves the target's validation loss better than the direct
    path's does. That removes the short-horizon bias of a free λ, which grows merely to take a longer step.

    Args:
        total: the sum of the weights.
        direct: share of the direct path at the start, when `TransferRatios` is not given a matrix. The other
            sources begin with equal shares of the rest.
    """

    def __init__(self, total: float = 1.0, direct: float = 0.8) -> None:
        if not total > 0:
            raise ValueError(f"Budget needs total > 0; got {total}")
        if not 0 < direct < 1:
            raise ValueError(f"Budget needs 0 < direct < 1; got {direct}")
        self.total, self.direct = float(total), float(direct)

    def forward(self, raw: Tensor) -> Tensor:
        """λ = total · softmax(raw) over the last axis."""
        return self.total * raw.softmax(-1)

    def inverse(self, lambda_: Tensor) -> Tensor:
        """Raw = log(λ / total); every λ must be positive and every row must sum to `total`."""
        _refuse_outside(lambda_, lambda_ > 0, repr(self))
        sums = lambda_.sum(-1)
        if not torch.allclose(sums, torch.full_like(sums, self.total), rtol=1e-4):
            raise ValueError(f"under {self!r} the weights must sum to {self.total:g}; the sums are {sums.tolist()}")
        return torch.log(lambda_ / self.total)

    def __repr__(self) -> str:
        return f"Budget(total={self.total:g}, direct={self.direct:g})"


def _refuse_outside(lambda_: Tensor, inside: Tensor, constraint: str) -> None:
    if not bool(inside.all()):
        outside = lambda_[~inside].flatten()[:5].tolist()
        raise ValueError(f"λ = {outside} is not allowed by {constraint}")
