"""What the outer steps of a training leave behind: a row each, and whether they say anything about λ."""

import math
from dataclasses import dataclass
from typing import Any

from bilevel_hpo.learner import BilevelLearner, OuterStep
from bilevel_hpo.signal import MIN_STEPS, Signal

__all__ = ["OUTER_STEP_COLUMNS", "Verdict", "outer_steps_of", "verdict_of"]

OUTER_STEP_COLUMNS = tuple(OuterStep.__annotations__)
"""Of `outer_steps.csv`, behind method and seed: the scalars of `learner.history`."""


@dataclass(frozen=True)
class Verdict:
    """What `learner.signal()` says of one training; plain numbers and words, for `results.json`."""

    told: int
    """λ that can be told from chance."""
    tested: int
    p: float
    """Of all λ together."""
    level: float
    steps: int
    """Outer steps looked at."""
    more: list[str]
    """Labels of the λ told from chance of which the training wants more; the surest first."""
    less: list[str]
    """Those of which it wants less."""
    text: str
    """The record in words."""

    @property
    def anything(self) -> bool:
        """A λ can be told from chance, or all together can."""
        return self.told > 0 or self.p <= self.level


def outer_steps_of(learner: BilevelLearner) -> list[dict[str, Any]]:
    """A row per outer step in `learner.history`, without λ and g; None for a number that is not finite."""
    rows = learner.history[list(OUTER_STEP_COLUMNS)].to_dict("records")
    return [{str(name): _finite(value) for name, value in row.items()} for row in rows]


def verdict_of(learner: BilevelLearner) -> Verdict | None:
    """Whether the hypergradients of this training stand above the noise of its batches.

    None for λ whose constraint does not tie them to each other as a `Budget` does, about whose usefulness they say
    nothing, and for fewer than `bilevel_hpo.signal.MIN_STEPS` outer steps.
    """
    history = learner.history
    couples = getattr(getattr(learner.weights, "constraint", None), "couples", False)
    if not couples or len(history) - history["skipped"].sum() < MIN_STEPS:
        return None
    return _verdict(learner.signal())


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _verdict(said: Signal) -> Verdict:
    means = said.table["mean"]
    more = [label for label in said.labels if float(means[label]) < 0]
    return Verdict(
        told=said.told,
        tested=said.tested,
        p=said.p,
        level=said.level,
        steps=said.steps,
        more=more,
        less=[label for label in said.labels if label not in more],
        text=str(said),
    )
