"""λ that does not change during the training: given, or what a method before has learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bilevel_hpo.comparison._fixed import with_values
from bilevel_hpo.comparison._plans import OneTraining
from bilevel_hpo.comparison._setting import Setting

__all__ = ["Constant", "Frozen"]


@dataclass(frozen=True)
class Constant:
    """λ is given: one training. No constraint is asked: λ is used as it stands here."""

    value: float | Mapping[str, float] | Sequence[float]
    """One number for every λ; by label, the others as they begin; or one for each."""
    name: str = ""
    """`constant=<value>` when left out, where the value is one number."""
    title: str = ""

    group: ClassVar[str] = "constant"

    def __post_init__(self) -> None:
        one = isinstance(self.value, int | float)
        if not self.name and not one:
            raise ValueError("Constant of several values needs a name")
        object.__setattr__(self, "name", self.name or f"lambda={self.value:g}")
        object.__setattr__(self, "title", self.title or (f"constant λ = {self.value:g}" if one else self.name))

    def trainings(self, setting: Setting) -> int:
        """One."""
        return 1

    def plan(self, setting: Setting, seed: int) -> OneTraining:
        """With λ as it is given."""
        return OneTraining(self.name, seed, with_values(setting.weights, self.value))


@dataclass(frozen=True)
class Frozen:
    """A second training with the λ that another method ended with, from the first step: does λ itself help, or the
    way there?"""

    of: str = "learned"
    """Name of that method; its training is counted."""
    name: str = ""
    title: str = ""

    group: ClassVar[str] = "frozen"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.of}-frozen")
        object.__setattr__(self, "title", self.title or f"λ of {self.of}, frozen, in a second training")

    def trainings(self, setting: Setting) -> int:
        """One, beside that of the other method."""
        return 1

    def plan(self, setting: Setting, seed: int) -> OneTraining:
        """Waits for the other method."""
        return OneTraining(self.name, seed, after=lambda: setting.answers.get((self.of, seed)))
