"""Summarise the outer steps of a training: a row each, and the test of λ."""

import math
from typing import Any

from bilevel_hpo.learner import BilevelLearner, OuterStep
from bilevel_hpo.signal import MIN_STEPS, Signal, Verdict

__all__ = ["OUTER_STEP_COLUMNS", "outer_steps_of", "verdict_of"]

OUTER_STEP_COLUMNS = tuple(OuterStep.__annotations__)
"""The columns of `outer_steps.csv` after method and seed: the scalars of `learner.history`."""


def outer_steps_of(learner: BilevelLearner) -> list[dict[str, Any]]:
    """Returns a row per outer step in `learner.history`, without λ and g; None for a number that is not finite."""
    rows = learner.history[list(OUTER_STEP_COLUMNS)].to_dict("records")
    return [{str(name): _finite(value) for name, value in row.items()} for row in rows]


def verdict_of(learner: BilevelLearner) -> Verdict | None:
    """Tests whether the hypergradients of this training exceed the noise of its batches.

    Returns None if the constraint does not couple the λ as a `Budget` does, since g then says
    nothing about their usefulness, and for fewer than `bilevel_hpo.signal.MIN_STEPS` outer steps.
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
        more=tuple(more),
        less=tuple(label for label in said.labels if label not in more),
        effective_steps=said.effective_steps,
    )
