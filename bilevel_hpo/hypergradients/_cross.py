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
    """∂/∂λ of it, `[N]` on this rank; None where L_train does not name λ."""
    precision: torch.dtype
    """In which the directional derivative was computed: that of autocast, of θ, or of the difference."""
    independent: bool = True
    """The rounding of the slope is not that of g·u, so that comparing the two says something."""
    custom: str = ""
    """The functions between λ and L_train whose derivatives are not torch's own, and may lack their part in λ."""
    judged: float | None = None
    """The error of `lambda_gradient` relative to its size, where it was compared with first derivatives."""
