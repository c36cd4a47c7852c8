"""Gradient clipping as a part of the inner step, and of its derivative."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

__all__ = ["ClipNorm", "ClipValue", "Clipped", "Clipping"]

Gradients = dict[str, Tensor]
"""By name."""


def _same(u: Gradients) -> Gradients:
    return u


@dataclass(frozen=True)
class Clipped:
    """The clipped gradient C(g), and the derivative of C at g."""

    gradients: Gradients
    """C(g), in new tensors; g itself where nothing is clipped."""
    pull_back: Callable[[Gradients], Gradients] = _same
    """u ↦ (∂C/∂g)ᵀ u by name."""


_TINY = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to the norm."""


@dataclass(frozen=True)
class ClipNorm:
    """Clips g to g · min(1, max_norm / (‖g‖ + 10⁻⁶)), ‖g‖ over all parameters: `torch.nn.utils.clip_grad_norm_`.

    Args:
        max_norm: the largest norm; must be positive.
    """

    max_norm: float

    def __post_init__(self) -> None:
        if not self.max_norm > 0:
            raise ValueError(f"ClipNorm needs max_norm > 0; got {self.max_norm}")

    def clipped(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """The clipped gradients, in new tensors; differentiable."""
        return self._shortened(gradients, _norm(gradients)) if gradients else []

    def at(self, gradients: Gradients) -> "Clipped":
        """Returns the clipped gradients and the derivative there; the norm is computed once."""
        if not gradients:
            return Clipped(gradients)
        norm = _norm(list(gradients.values()))
        clipped = self._shortened(list(gradients.values()), norm)
        return Clipped(dict(zip(gradients, clipped, strict=True)), partial(self._pull_back, gradients, norm))

    def _shortened(self, gradients: Sequence[Tensor], norm: Tensor) -> list[Tensor]:
        factor = (self.max_norm / (norm + _TINY)).clamp(max=1.0)
        return [g * factor.to(g.dtype) for g in gradients]

    def _pull_back(self, gradients: Gradients, norm: Tensor, u: Gradients) -> Gradients:
        """Applies the transposed derivative to u, which may lack some of the gradients."""
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
    """Clips g to clamp(g, −value, value), element by element: `torch.nn.utils.clip_grad_value_`.

    Args:
        value: the largest absolute value; must be positive.
    """

    value: float

    def __post_init__(self) -> None:
        if not self.value > 0:
            raise ValueError(f"ClipValue needs value > 0; got {self.value}")

    def clipped(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """The clipped gradients, in new tensors; differentiable."""
        return [g.clamp(-self.value, self.value) for g in gradients]

    def at(self, gradients: Gradients) -> "Clipped":
        """Returns the clipped gradients and the derivative there: u where g was not clipped, 0 where it was."""
        clipped = dict(zip(gradients, self.clipped(list(gradients.values())), strict=True))
        return Clipped(clipped, partial(self._pull_back, gradients))

    def _pull_back(self, gradients: Gradients, u: Gradients) -> Gradients:
        return {name: torch.where(gradients[name].abs() <= self.value, ui, 0) for name, ui in u.items()}


Clipping = ClipNorm | ClipValue


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.stack([torch.linalg.vector_norm(g) for g in gradients]).norm()
    return norm
