"""The result of an estimator's directional derivative."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Cross"]


class Cross(NamedTuple):
    """The directional derivative of L_train along u, as an estimator found it."""

    slope: Tensor
    """d/dε L_train(θ + ε·u, λ) at ε = 0, a scalar on this rank."""
    lambda_gradient: Tensor | None
    """Its derivative ∂/∂λ, `[N]` on this rank; None if L_train does not depend on λ."""
    precision: torch.dtype
    """The precision of the directional derivative: that of autocast, of θ, or of the difference."""
    independent: bool = True
    """Whether the rounding of the slope differs from that of g·u, so that comparing the two is meaningful."""
    custom: str = ""
    """The functions between λ and L_train whose derivatives are not torch's own, and may lack their part in λ."""
    judged: float | None = None
    """The error of `lambda_gradient` relative to its size, if it was compared with first derivatives."""
