"""A way of training that `compare` knows by its name alone."""

from dataclasses import dataclass

from bilevel_hpo.comparison._plans import OneTraining
from bilevel_hpo.comparison._setting import Setting

__all__ = ["Single"]


@dataclass(frozen=True)
class Single:
    """One training in which the training function does what the method is called: it reads `run.method`.

    For rivals that are no choice of λ: another rule of weighting losses, another optimizer, another model.
    `run.weights` is λ as it begins.
    """

    name: str
    title: str = ""
    group: str = "own"
    as_long_as: str = ""
    """Name of a method whose seconds, with the same seed, the training is told: `run.options["seconds"]`."""

    def trainings(self, setting: Setting) -> int:
        """One."""
        return 1

    def plan(self, setting: Setting, seed: int) -> OneTraining:
        """Without a λ of its own."""
        if not self.as_long_as:
            return OneTraining(self.name, seed)
        return OneTraining(self.name, seed, as_long_as=lambda: setting.answers.get((self.as_long_as, seed)))
