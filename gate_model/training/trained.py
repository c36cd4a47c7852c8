"""The result of one training."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from bilevel_hpo.signal import Verdict
from gate_model.model.gate import GATE

__all__ = ["Trained"]


@dataclass(frozen=True)
class Trained:
    """A trained network for T tasks, and its numbers."""

    model: GATE
    """The network after the best epoch if training may stop early, otherwise after the last."""
    epoch: int
    """The epoch after which `model` and `ratios` were taken."""
    ratios: Tensor
    """λ or W as it entered the loss, `[T, T]`."""
    trajectory: Tensor
    """λ or W at the start and after every epoch, `[epochs + 1, T, T]`."""
    history: list[dict[str, float]]
    """One `EpochReport` for each epoch, as a dict."""
    seconds: float
    """Seconds of the training itself, without evaluation."""
    outer_steps: list[dict[str, Any]] = field(default_factory=list)
    """One entry for each step on λ, with the columns `bilevel_hpo.comparison.OUTER_STEP_COLUMNS`; empty for a constant
    λ."""
    verdict: Verdict | None = None
    """Whether the hypergradients say anything about λ; None if there are none, or too few to tell."""

    @property
    def val_rmse(self) -> float:
        """RMSE of `model` on the selection molecules: mean over tasks, standardised labels."""
        return self.history[self.epoch - 1]["selection"]
