"""The argument of an objective, and its result."""

from collections.abc import Callable, Mapping, Sequence

import optuna

__all__ = ["Callback", "Objective", "Point", "PopulationObjective"]


class Point(dict[str, float]):
    """λ by name, as a dict; `report` passes intermediate losses of the training to the study."""

    def __init__(
        self, values: Mapping[str, float], report: Callable[[float, int], None] = lambda value, epoch: None
    ) -> None:
        super().__init__(values)
        self._report = report

    def report(self, value: float, epoch: int) -> None:
        """Reports the validation loss after `epoch` (1, 2, …). It is stored in the study together with the value.

        Raises:
            optuna.TrialPruned: the pruner stops the run. Do not catch it: the study records a pruned trial,
                which is never the winner.
        """
        if epoch < 1:
            raise ValueError(f"epoch must be at least 1, the first epoch; got {epoch}")
        self._report(float(value), int(epoch))


Objective = Callable[[Point], float]
"""From λ by name to the value to minimise, a validation loss; NaN (a diverged training) counts as infinity."""

PopulationObjective = Callable[[Sequence[Point]], Sequence[float]]
"""From at most `population` points to their values in the same order."""

Callback = Callable[[optuna.Study, optuna.trial.FrozenTrial], None]
"""A function called in the driver with (study, trial) after each trial."""
