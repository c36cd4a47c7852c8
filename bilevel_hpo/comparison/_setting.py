"""The interface of a method, and the settings that the methods of a comparison share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from bilevel_hpo.comparison._jobs import Job, Trained
from bilevel_hpo.comparison._scores import Metric
from bilevel_hpo.jobs import Plan

__all__ = ["Answer", "Bundle", "Method", "MethodPlan", "Setting", "Trial"]

Bundle = tuple[Job, ...]
"""Trainings that run as one job; usually a single one."""


@dataclass(frozen=True)
class Trial:
    """One training of a search."""

    params: Mapping[str, float]
    """λ by axis."""
    selection: float
    """The mean selection score over the tasks; NaN if the training failed."""
    seconds: float


@dataclass(frozen=True)
class Answer:
    """The result of a method for one seed, and its cost."""

    trained: Trained
    """The training with the scores on the test data."""
    training_runs: int
    seconds: float
    cpu_seconds: float
    epochs: int
    trials: Sequence["Trial"] = ()
    """The trials of a search, in order."""
    note: str = ""
    """A further remark for the report."""

    def after(self, other: "Answer") -> "Answer":
        """Returns this answer with the cost of another that it needed."""
        return replace(
            self,
            training_runs=self.training_runs + other.training_runs,
            seconds=self.seconds + other.seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            epochs=self.epochs + other.epochs,
        )


class MethodPlan(Plan[Bundle, list[Trained]], Protocol):
    """The trainings of one method and seed."""

    answer: Answer | None
    """The answer, once all trainings have ended."""
    remembers_trials: bool
    """Whether it stores the scores of trainings without test scores itself, as a search does in its study."""


@dataclass(frozen=True)
class Setting:
    """The settings of one comparison."""

    weights: nn.Module
    """λ at the start; never changed."""
    metric: Metric
    folder: Path
    """The folder of everything that must survive an interruption."""
    storage: str | None
    """Where searches keep their studies; with None, in a journal in `folder`."""
    about: Mapping[str, Any]
    """JSON with whatever else determines the scores."""
    answers: dict[tuple[str, int], Answer] = field(default_factory=dict)
    """The answers so far, by method and seed."""


class Method(Protocol):
    """A way of choosing λ: a frozen record."""

    @property
    def name(self) -> str:
        """The short name, for files and commands."""

    @property
    def title(self) -> str:
        """The name shown in reports."""

    @property
    def group(self) -> str:
        """The kind of method: learned, constant, search, frozen, or a word of your own."""

    def trainings(self, setting: Setting) -> int:
        """Returns the number of trainings for one seed, as the progress bar counts them."""

    def plan(self, setting: Setting, seed: int) -> MethodPlan:
        """Returns the plan of the trainings for one seed."""
