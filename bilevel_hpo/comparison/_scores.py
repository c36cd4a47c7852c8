"""The scores of a training, one number per task, and their metric."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Metric", "Score", "Scores", "by_task"]

Score = float | Mapping[str, float]
"""One number, or one for each task by its name; NaN for a task that has no labels there."""


@dataclass(frozen=True)
class Metric:
    """The metric: name and direction of the scores."""

    name: str = "loss"
    higher_is_better: bool = False

    def mean(self, scores: Mapping[str, float]) -> float:
        """Returns the mean over the tasks that have a score; NaN if none has."""
        known = [score for score in scores.values() if not math.isnan(score)]
        return sum(known) / len(known) if known else math.nan

    def loss(self, scores: Mapping[str, float]) -> float:
        """Returns the mean as a number to minimise; infinite if it is not finite."""
        mean = -self.mean(scores) if self.higher_is_better else self.mean(scores)
        return mean if math.isfinite(mean) else math.inf


@dataclass(frozen=True)
class Scores:
    """The scores that a training function returns.

    Args:
        selection: scores on the data that choose between trainings, such as the points of a grid. These must not be
            the data that λ is learned from.
        test: scores on the test data, or a function that returns them, called only if the comparison needs them: for
            the winner of a search, not for its trials.
        extra: a function called along with `test` that returns JSON for a report of your own.
    """

    selection: Score
    test: Score | Callable[[], Score]
    extra: Callable[[], Mapping[str, Any]] = field(default=dict)


def by_task(score: Score, metric: Metric, argument: str) -> dict[str, float]:
    """Returns the numbers by task; a single number has the name of the metric.

    Raises:
        TypeError: `score` is neither a number nor a mapping of numbers.
    """
    found = score if isinstance(score, Mapping) else {metric.name: score}
    try:
        named = {str(task): float(value) for task, value in found.items()}
    except (TypeError, ValueError):
        named = {}
    if not named:
        raise TypeError(f"Scores: {argument} must be a number, or a dict of numbers by task name; got {score!r}")
    return named
