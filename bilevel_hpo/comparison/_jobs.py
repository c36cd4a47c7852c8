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
    """Of the training among those of its method and seed; a search trains its winner again, last."""
    lambda_: tuple[float, ...] | None
    """Constant λ, all entries in their order `[N]`; None where the method learns it."""
    test: bool
    """Whether to compute the scores on the test data."""
    options: Mapping[str, float] = field(default_factory=dict)
    """What else its method tells the training."""
    before: tuple[FrozenTrial, ...] = ()
    """For the pruner of a search: the trials that ended before."""

    @property
    def name(self) -> str:
        """Returns the name of its file."""
        return f"{self.method}-seed{self.seed}-{self.number}"


@dataclass(frozen=True)
class Trained:
    """The numbers of one training; NaN for a missing one."""

    selection: dict[str, float]
    """By task; empty if the training failed."""
    test: dict[str, float] = field(default_factory=dict)
    """The scores on the test data, by task; empty if they were not computed."""
    seconds: float = 0.0
    """Of training, without evaluation; where no learner was used, of everything."""
    cpu_seconds: float = 0.0
    """Processor seconds of everything; `compare` measures them."""
    epochs: int = 0
    """0 where no learner was used."""
    training_runs: int = 1
    """Models that were trained."""
    lambda_: list[float] = field(default_factory=list)
    """λ at the end, all entries in their order `[N]`; empty where the training has none."""
    trajectory: list[list[float]] = field(default_factory=list)
    """λ at the start and after every epoch `[epochs + 1, N]`, or at the start and the end `[2, N]`; empty where λ is
    constant."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """A row per epoch: epoch, seconds, train_loss, selection, and what an adapter adds."""
    outer_steps: list[dict[str, Any]] = field(default_factory=list)
    """A row per outer step: the scalars of `learner.history`."""
    signal: dict[str, Any] | None = None
    """A `Verdict`: whether there was anything to learn."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Of `Scores.extra`."""
    failure: str = ""
    """Why there are no scores: the training diverged."""
    pruned: bool = False
    """A pruner ended the training."""
    reports: dict[int, float] = field(default_factory=dict)
    """What it told `Run.report`: epoch -> loss."""
    marks: dict[str, Any] = field(default_factory=dict)
    """What the pruner noted."""
