"""The result in plain words, no better than the numbers allow."""

from dataclasses import dataclass

import numpy as np

from gate_model.report._certainty import LEVEL
from gate_model.report._facts import Difference, MethodFacts, ReportFacts
from gate_model.report._lambda_words import lambda_words
from gate_model.report._words import capital, count, label, percent, plus_minus, seconds, titled

__all__ = ["Against", "Answer", "answer"]

_FIRST = ("lambda=0", "lambda=1", "grid", "tpe")
"""The rivals that every comparison has; others follow in the order of the file."""


@dataclass(frozen=True)
class Against:
    """One line of comparison."""

    other: str
    """Title of the other method."""
    verdict: str
    """In words, with the percentage."""
    certain: str
    """How sure that is."""
    evidence: str
    """The numbers behind it."""
    cost: str
    """Trainings and seconds of both; empty if both are one training."""


@dataclass(frozen=True)
class Answer:
    """What the page says first."""

    headline: str
    summary: str
    lambda_: str
    """Which λ the best method has."""
    subject: str
    """Title of the method that `against` is about."""
    against: tuple[Against, ...]
    learned: str
    """If the best method is not learned: how the best learned one stands; else empty."""
    learned_lambda: str
    learned_against: tuple[Against, ...]
    notes: tuple[str, ...]


def answer(facts: ReportFacts) -> Answer:
    """Who has the lowest mean test RMSE, by how much, how sure, and at which cost."""
    best, learned = facts.best, facts.best_learned
    behind = learned if learned is not best else None
    return Answer(
        headline=_headline(facts, best),
        summary=_summary(facts, best),
        lambda_=lambda_words(facts, best),
        subject=capital(titled(best)),
        against=_all_against(facts, best),
        learned=""
        if behind is None
        else f"Best learned: {titled(behind)}, test RMSE {_score(behind)}, {_cost(behind)}.",
        learned_lambda="" if behind is None else lambda_words(facts, behind),
        learned_against=() if behind is None else _all_against(facts, behind),
        notes=_notes(facts),
    )


def _headline(facts: ReportFacts, best: MethodFacts) -> str:
    if len(facts.methods) == 1:
        return f"{capital(titled(best))}: mean test RMSE {best.rmse:.4f}"
    control = ", the control," if best.name == "lambda=0" and "control" not in best.title else ""
    claim = f"{capital(titled(best))}{control} has the lowest mean test RMSE"
    differences = [found for _, found in _differences(facts, best)]
    if not differences:
        return f"{claim}."
    if any(found.seeds == 1 for found in differences):
        return f"{claim}, in the one seed that was run."
    seeds = count(min(found.seeds for found in differences), "seed")
    doubtful = [
        "λ = 0 (the control)" if found.other == "lambda=0" else label(found.other)
        for found in differences
        if not found.certainty.holds_for_seeds
    ]
    if doubtful:
        return f"{claim}, but {seeds} cannot tell it from {_listed(doubtful, len(differences))}."
    return f"{claim}, and {seeds} are enough to tell."


def _listed(doubtful: list[str], rivals: int) -> str:
    """The first is the control, if it is among them."""
    if len(doubtful) == rivals > 2:
        return f"any other, {doubtful[0]} included" if "control" in doubtful[0] else "any other"
    return " and ".join([", ".join(doubtful[:-1]), doubtful[-1]] if len(doubtful) > 1 else doubtful)


def _summary(facts: ReportFacts, best: MethodFacts) -> str:
    over = f"mean over {count(len(facts.tasks), 'task')} and {count(len(best.seeds), 'seed')}"
    spread = "" if np.isnan(best.rmse_std) else "; ± is the standard deviation over the seeds"
    return f"Test RMSE {_score(best)} (standardised labels, {over}{spread}), {_cost(best)}."


def _differences(facts: ReportFacts, subject: MethodFacts) -> list[tuple[MethodFacts, Difference]]:
    """`subject` against each other method, the control first."""
    others = [other for other in facts.methods if other is not subject]
    others.sort(key=lambda other: _FIRST.index(other.name) if other.name in _FIRST else len(_FIRST))
    found = [(other, facts.difference(subject, other)) for other in others]
    return [(other, difference) for other, difference in found if difference is not None]


def _all_against(facts: ReportFacts, subject: MethodFacts) -> tuple[Against, ...]:
    return tuple(_against(subject, other, difference) for other, difference in _differences(facts, subject))


def _against(subject: MethodFacts, other: MethodFacts, difference: Difference) -> Against:
    same = abs(difference.relative) < 0.0005
    seeds = f"{int((difference.by_seed < 0).sum())} of {difference.seeds} seeds, " if difference.seeds > 1 else ""
    evidence = f"{subject.rmse:.4f} against {other.rmse:.4f}; lower in {seeds}{difference.tasks_better} of "
    evidence += count(difference.tasks, "task")
    p = difference.certainty.p_tasks
    if not np.isnan(p):
        evidence += f" (p {'< 0.001' if p < 0.001 else f'= {p:.3f}'})"
    cost = ""
    if (subject.training_runs, other.training_runs) != (1, 1):
        cost = (
            f"{count(subject.training_runs, 'training')} ({seconds(subject.wall_s)}) instead of "
            f"{other.training_runs} ({seconds(other.wall_s)})"
        )
    title = f"{other.title}, the control" if other.name == "lambda=0" and "control" not in other.title else other.title
    return Against(
        other=title,
        verdict="the same RMSE to 0.1 %" if same else f"RMSE {percent(difference.relative)}",
        certain=_certain(difference),
        evidence=evidence,
        cost=cost,
    )


def _certain(difference: Difference) -> str:
    holds = difference.certainty.holds_for_seeds
    if holds is None:
        return "cannot tell: one seed" if difference.seeds == 1 else "cannot tell: the split's sizes are not known"
    low, high = difference.interval
    if low < 0 < high:
        between = f"{percent(low)} and {percent(high)}"
    else:
        near, far = sorted((abs(low), abs(high)))
        between = f"{100 * near:.1f} % and {percent(np.copysign(far, low + high))}"
    likely = f"with other seeds between {between} ({100 * LEVEL:.0f} % interval)"
    if not holds:
        agree = ", though most tasks agree in these" if difference.certainty.holds_for_tasks else ""
        return f"cannot tell: {likely}{agree}"
    if difference.certainty.holds_for_tasks is False:
        return f"sure on average, not task by task: {likely}"
    return f"sure: {likely}"


def _notes(facts: ReportFacts) -> tuple[str, ...]:
    notes = []
    names = {method.name for method in facts.methods}
    if "lambda=0" in names and len(names) > 1:
        notes.append(
            "λ = 0 is the control: no task teaches another through the mapping loss. Only what beats it has gained "
            "from transfer; beating λ = 1 alone does not show that."
        )
    else:
        notes.append("No control was run (λ = 0); this folder cannot tell whether transfer helped. See gate compare.")
    if max(len(method.seeds) for method in facts.methods) == 1:
        notes.append("One seed: how far the numbers would move with another is not known.")
    elif len(names) > 1:
        notes.append(
            "Intervals: Student's, paired over the seeds, widened because seeds share molecules (Nadeau and Bengio, "
            "2003). p: Wilcoxon's signed-rank test over the tasks."
        )
    if len(names) > 2:
        notes.append(
            f"The lowest of {len(names)} methods was picked on the same test molecules as it is compared on, which "
            "flatters it a little."
        )
    if {"grid", "tpe"} & names:
        over = "one λ for all pairs" if facts.shared else "symmetric λ"
        notes.append(
            f"Searches choose on the selection molecules, one training a point, over {over}; a learned λ may "
            "differ by direction. Seconds are those of one seed's whole answer."
        )
    return tuple(notes)


def _score(method: MethodFacts) -> str:
    return plus_minus(method.rmse, method.rmse_std)


def _cost(method: MethodFacts) -> str:
    each = " per seed" if len(method.seeds) > 1 else ""
    return f"from {count(method.training_runs, 'training')} in {seconds(method.wall_s)}{each}"
