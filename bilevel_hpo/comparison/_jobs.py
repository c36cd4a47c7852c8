"""One training of a comparison: the job and its result, as plain values that can be sent between machines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

__all__ = ["Job", "Trained"]


@dataclass(frozen=True)
class Job:
    """One training."""

    method: str
    seed: int
    number: int
    """The number of the training among those of its method and seed; a search trains its winner again, last."""
    lambda_: tuple[float, ...] | None
    """The constant λ, all entries in order `[N]`; None if the method learns it."""
    test: bool
    """Whether to compute the scores on the test data."""
    options: Mapping[str, float] = field(default_factory=dict)
    """Further values that the method passes to the training."""
    before: tuple[FrozenTrial, ...] = ()
    """The trials that ended before, for the pruner of a search."""

    @property
    def name(self) -> str:
        """Returns the name of its file."""
        return f"{self.method}-seed{self.seed}-{self.number}"


@dataclass(frozen=True)
class Trained:
    """The numbers of one training; NaN for a missing one."""

    selection: dict[str, float]
    """The scores on the selection data, by task; empty if the training failed."""
    test: dict[str, float] = field(default_factory=dict)
    """The scores on the test data, by task; empty if they were not computed."""
    seconds: float = 0.0
    """The seconds of training, without evaluation; the total seconds if no learner was used."""
    cpu_seconds: float = 0.0
    """Processor seconds of everything; `compare` measures them."""
    epochs: int = 0
    """The number of epochs; 0 if no learner was used."""
    training_runs: int = 1
    """The number of trained models."""
    lambda_: list[float] = field(default_factory=list)
    """λ at the end, all entries in order `[N]`; empty if the training has none."""
    trajectory: list[list[float]] = field(default_factory=list)
    """λ at the start and after every epoch `[epochs + 1, N]`, or at the start and the end `[2, N]`; empty where λ is
    constant."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """A row per epoch: epoch, seconds, train_loss, selection, and columns of an adapter."""
    outer_steps: list[dict[str, Any]] = field(default_factory=list)
    """A row per outer step: the scalars of `learner.history`."""
    signal: dict[str, Any] | None = None
    """A `Verdict`: whether there was anything to learn."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """The result of `Scores.extra`."""
    failure: str = ""
    """The reason for missing scores: the training diverged."""
    pruned: bool = False
    """Whether a pruner ended the training."""
    reports: dict[int, float] = field(default_factory=dict)
    """The losses passed to `Run.report`, by epoch."""
    marks: dict[str, Any] = field(default_factory=dict)
    """The attributes that the pruner has set."""
