"""A method that only the training function knows."""

from dataclasses import dataclass

from bilevel_hpo.comparison._plans import OneTraining
from bilevel_hpo.comparison._setting import Setting

__all__ = ["Single"]


@dataclass(frozen=True)
class Single:
    """Trains once; the training function reads `run.method` and does what the name says.

    Use it for rivals that are not a choice of λ: another rule for loss weights, another optimizer, another model.
    `run.weights` is λ at the start.
    """

    name: str
    title: str = ""
    group: str = "own"
    as_long_as: str = ""
    """The name of a method whose seconds with the same seed the training receives as `run.options["seconds"]`."""

    def trainings(self, setting: Setting) -> int:
        """One."""
        return 1

    def plan(self, setting: Setting, seed: int) -> OneTraining:
        """Plans one training without a given λ."""
        if not self.as_long_as:
            return OneTraining(self.name, seed)
        return OneTraining(self.name, seed, as_long_as=lambda: setting.answers.get((self.as_long_as, seed)))
