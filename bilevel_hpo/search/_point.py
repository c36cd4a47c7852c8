"""What an objective is given, and what it gives back."""

from collections.abc import Callable, Mapping, Sequence

import optuna

__all__ = ["GivenUpError", "Objective", "Point", "PopulationObjective"]


class GivenUpError(Exception):
    """The other workers took this one for dead and evaluate the point themselves; its value is not wanted any more."""


class Point(dict[str, float]):
    """λ by name, as a dict; `report` tells the study how its training goes."""

    def __init__(
        self, values: Mapping[str, float], report: Callable[[float, int], None] = lambda value, epoch: None
    ) -> None:
        super().__init__(values)
        self._report = report

    def report(self, value: float, epoch: int) -> None:
        """Put the validation loss after `epoch` (1, 2, …) into the study.

        Raises:
            optuna.TrialPruned: the study's pruner holds the run for hopeless. Let it pass: the study notes a pruned
                trial, which is never the winner.
        """
        if epoch < 1:
            raise ValueError(f"epoch={epoch}; epochs are counted from 1")
        self._report(float(value), int(epoch))


Objective = Callable[[Point], float]
"""λ by name ↦ the value to minimise, a validation loss; NaN (a training that diverged) is taken for infinity."""

PopulationObjective = Callable[[Sequence[Point]], Sequence[float]]
"""At most `population` points ↦ their values in the same order."""

Callback = Callable[[optuna.Study, optuna.trial.FrozenTrial], None]
"""Called with (study, trial) after each trial that this process has finished."""
