"""What one training leaves behind."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from bilevel_hpo.signal import Verdict
from gate_model.model.gate import GATE

__all__ = ["Trained"]


@dataclass(frozen=True)
class Trained:
    """A network and its numbers; T tasks."""

    model: GATE
    """After the best epoch with early stopping, else after the last."""
    epoch: int
    """The epoch that `model` and `ratios` are of."""
    ratios: Tensor
    """λ or W as it entered the loss, `[T, T]`."""
    trajectory: Tensor
    """The same at the start and after every epoch, `[epochs + 1, T, T]`."""
    history: list[dict[str, float]]
    """`EpochReport`s."""
    seconds: float
    """Of the training itself, without evaluation."""
    outer_steps: list[dict[str, Any]] = field(default_factory=list)
    """Their columns are `bilevel_hpo.comparison.OUTER_STEP_COLUMNS`; empty for a constant λ."""
    verdict: Verdict | None = None
    """Whether the hypergradients say anything about λ; None where they were not asked."""

    @property
    def val_rmse(self) -> float:
        """Of `model` on the selection molecules."""
        return self.history[self.epoch - 1]["selection"]
