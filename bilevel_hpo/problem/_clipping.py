"""Gradient clipping as a part of the inner step, and of its derivative."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ClipNorm", "ClipValue", "Clipping"]

Gradients = dict[str, Tensor]
"""By name."""

_TINY = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to the norm."""


@dataclass(frozen=True)
class ClipNorm:
    """g ↦ g · min(1, max_norm / (‖g‖ + 10⁻⁶)), ‖g‖ over all parameters together: `torch.nn.utils.clip_grad_norm_`.

    Args:
        max_norm: the largest norm; positive.
    """

    max_norm: float

    def __post_init__(self) -> None:
        if not self.max_norm > 0:
            raise ValueError(f"ClipNorm needs max_norm > 0; got {self.max_norm}")

    def clipped(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """The clipped gradients, in new tensors; differentiable."""
        if not gradients:
            return []
        factor = (self.max_norm / (_norm(gradients) + _TINY)).clamp(max=1.0)
        return [g * factor.to(g.dtype) for g in gradients]

    def pull_back(self, gradients: Gradients, u: Gradients) -> Gradients:
        """(∂ clipped / ∂g)ᵀ u by name; u may lack some of the gradients."""
        if not gradients:
            return u
        norm = _norm(list(gradients.values()))
        factor = self.max_norm / (norm + _TINY)
        if not bool(factor < 1):
            return u
        along = sum((g * u[name]).sum().to(norm.dtype) for name, g in gradients.items() if name in u)
        share = along / (norm * (norm + _TINY))
        return {
            name: factor.to(g.dtype) * (u[name] - share.to(g.dtype) * g if name in u else -share.to(g.dtype) * g)
            for name, g in gradients.items()
        }


@dataclass(frozen=True)
class ClipValue:
    """g ↦ clamp(g, −value, value), element by element: `torch.nn.utils.clip_grad_value_`.

    Args:
        value: the largest absolute value; positive.
    """

    value: float

    def __post_init__(self) -> None:
        if not self.value > 0:
            raise ValueError(f"ClipValue needs value > 0; got {self.value}")

    def clipped(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """The clipped gradients, in new tensors; differentiable."""
        return [g.clamp(-self.value, self.value) for g in gradients]

    def pull_back(self, gradients: Gradients, u: Gradients) -> Gradients:
        """(∂ clipped / ∂g)ᵀ u by name: u where g was not clipped, 0 where it was."""
        return {name: torch.where(gradients[name].abs() <= self.value, ui, 0) for name, ui in u.items()}


Clipping = ClipNorm | ClipValue


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.stack([torch.linalg.vector_norm(g) for g in gradients]).norm()
    return norm
