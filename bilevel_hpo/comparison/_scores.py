"""How good a training is: a number for each task, and what the numbers are called."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Metric", "Score", "Scores", "by_task"]

Score = float | Mapping[str, float]
"""One number, or one for each task by its name; NaN for a task that has no labels there."""


@dataclass(frozen=True)
class Metric:
    """What the scores are."""

    name: str = "loss"
    higher_is_better: bool = False

    def mean(self, scores: Mapping[str, float]) -> float:
        """Over the tasks that have one; NaN if none has."""
        known = [score for score in scores.values() if not math.isnan(score)]
        return sum(known) / len(known) if known else math.nan

    def loss(self, scores: Mapping[str, float]) -> float:
        """The mean as a number to minimise; infinite where it is not finite."""
        mean = -self.mean(scores) if self.higher_is_better else self.mean(scores)
        return mean if math.isfinite(mean) else math.inf


@dataclass(frozen=True)
class Scores:
    """What a training hands back.

    Args:
        selection: on the data that choose between trainings, such as the points of a grid. They must not be those that
            λ is learned from.
        test: on the data that judge. A function is called only where the comparison wants to know: for the winner of a
            search, not for its trials.
        extra: a function, called with `test`, for whatever else a report of your own needs; JSON.
    """

    selection: Score
    test: Score | Callable[[], Score]
    extra: Callable[[], Mapping[str, Any]] = field(default=dict)


def by_task(score: Score, metric: Metric, argument: str) -> dict[str, float]:
    """The numbers by task; one that stands alone is called like the metric.

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
