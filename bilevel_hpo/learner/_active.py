"""Select the λ that take part in an outer step: large ones always, small ones in turn."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ActiveSet"]


@dataclass(frozen=True)
class ActiveSet:
    """Updates λ of at least `threshold` in every outer step, and each of the others once in `rotation` outer steps.

    The paper's Discussion finds most λ so small that they could be left out of the outer loop. Left out for good, a λ
    that fell early could never come back; in rotation, each gets its turn after at most `rotation` outer steps. A λ
    that does not take part keeps its raw value (under a `Budget` λ itself still gives way to the others of its sum).

    The hypergradient of all λ costs as much as that of one, so this saves no time in the engine. It is for losses
    that leave out pairs by `learner.active`, and it keeps noise from moving the many λ that do not matter.

    Args:
        threshold: the smallest λ that takes part in every outer step.
        rotation: the number of outer steps in which every λ takes part once; with 1, all take part always.
    """

    threshold: float
    rotation: int = 10

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise ValueError(f"ActiveSet needs threshold >= 0; got {self.threshold}")
        if self.rotation < 1:
            raise ValueError(f"ActiveSet needs rotation >= 1; got {self.rotation}")

    def always(self, lambda_: Tensor) -> Tensor:
        """Returns a mask `[N]` of the λ that take part in every outer step; a subclass may override it."""
        return lambda_ >= self.threshold

    def inner(self, lambda_: Tensor, turn: int) -> Tensor:
        """Returns a mask `[N]` of the λ that take part in the inner steps before outer step number `turn`.

        By default the mask of that outer step; a subclass may leave out more, to save time in the steps on θ.
        """
        return self.mask(lambda_, turn)

    def mask(self, lambda_: Tensor, turn: int) -> Tensor:
        """Returns a mask `[N]` of the λ that take part in outer step number `turn` (0 for the first)."""
        place = torch.arange(lambda_.numel(), device=lambda_.device)
        return self.always(lambda_) | (place % self.rotation == turn % self.rotation)
