"""Methods with a λ that does not change during the training: given, or learned by another method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bilevel_hpo.comparison._fixed import with_values
from bilevel_hpo.comparison._plans import OneTraining
from bilevel_hpo.comparison._setting import Setting

__all__ = ["Constant", "Frozen"]


@dataclass(frozen=True)
class Constant:
    """Trains once with a given λ. No constraint applies: λ is used as given."""

    value: float | Mapping[str, float] | Sequence[float]
    """One number for all λ, numbers by label (the others keep their start), or one number for each."""
    name: str = ""
    """The name; by default `constant=<value>` if the value is one number."""
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
        """Plans one training with the given λ."""
        return OneTraining(self.name, seed, with_values(setting.weights, self.value))


@dataclass(frozen=True)
class Frozen:
    """Trains a second time with the final λ of another method from the first step: is it λ itself that helps, or the
    path to it?"""

    of: str = "learned"
    """The name of the other method, whose training is counted."""
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
