"""The result in plain words, with no more certainty than the numbers allow."""

from dataclasses import dataclass

import numpy as np

from bilevel_hpo.report._facts import MethodFacts, ReportFacts
from bilevel_hpo.report._lambda_words import lambda_words
from bilevel_hpo.report._parts import Rival
from bilevel_hpo.report._words import (
    apart,
    capital,
    count,
    gap,
    label,
    listed,
    scored,
    seconds,
    titled,
)
from bilevel_hpo.statistics import LEAST_TASKS, LEVEL, Paired

__all__ = ["Answer", "answer"]

_FIRST = ("lambda=1", "grid", "tpe")
"""The rivals that are shown first, behind the control; others follow in the order of the file."""
_NAMED = 3
"""Rivals that the headline names; more are counted."""


@dataclass(frozen=True)
class Answer:
    """The first statement of the page."""

    headline: str
    summary: str
    lambda_: str
    """Which λ the best method has."""
    subject: str
    """Title of the method that `rivals` are compared with."""
    rivals: tuple[Rival, ...]
    learned: str
    """If the best method is not learned: how the best learned one stands; else empty."""
    learned_lambda: str
    learned_rivals: tuple[Rival, ...]
    notes: tuple[str, ...]


def answer(facts: ReportFacts) -> Answer:
    """Returns which method has the best mean score on the test data, by how much, with which certainty and cost."""
    best, learned = facts.best, facts.best_learned
    behind = learned if learned is not best else None
    return Answer(
        headline=_headline(facts, best),
        summary=_summary(facts, best),
        lambda_=lambda_words(facts, best),
        subject=capital(titled(best)),
        rivals=_rivals(facts, best),
        learned=""
        if behind is None
        else f"Best learned: {titled(behind)}, test {facts.metric.name} {scored(facts, behind)}, {_cost(behind)}.",
        learned_lambda="" if behind is None else lambda_words(facts, behind),
        learned_rivals=() if behind is None else _rivals(facts, behind),
        notes=_notes(facts),
    )


def _headline(facts: ReportFacts, best: MethodFacts) -> str:
    mean, metric = _mean(facts), facts.metric
    if len(facts.methods) == 1:
        return f"{capital(titled(best))}: {mean}test {metric.name} {best.score:{facts.digits}} {metric.unit}".rstrip()
    control = ", the control," if best is facts.control and "control" not in best.title else ""
    claim = f"{capital(titled(best))}{control} has the {metric.best} {mean}test {metric.name}"
    differences = _differences(facts, best)
    if not differences:
        return f"{claim}."
    if any(found.seeds == 1 for _, found in differences):
        return f"{claim}, in the one seed that was run."
    doubtful = [other for other, found in differences if not found.holds_for_seeds]
    seeds = count(min(found.seeds for _, found in differences), "seed")
    if doubtful:
        return f"{claim}, but {seeds} cannot tell it from {_named(facts, doubtful, len(differences))}."
    return f"{claim}, and {seeds} are enough to tell."


def _named(facts: ReportFacts, doubtful: list[MethodFacts], rivals: int) -> str:
    """Returns the named rivals; the first is the control, if it is among them."""
    control = facts.control is not None and doubtful[0] is facts.control
    names = [label(method.name) for method in doubtful]
    if control:
        names[0] += " (the control)"
    if len(doubtful) == rivals > 2:
        return f"any other, {names[0]} included" if control else "any other"
    if len(doubtful) > _NAMED:
        return f"{len(doubtful)} of the {rivals} others{f', {names[0]} among them' if control else ''}"
    return listed(names)


def _mean(facts: ReportFacts) -> str:
    return "mean " if len(facts.tasks) > 1 else ""


def _summary(facts: ReportFacts, best: MethodFacts) -> str:
    over = [count(number, noun) for number, noun in ((len(facts.tasks), "task"), (len(best.seeds), "seed"))]
    over = over if len(facts.tasks) > 1 else over[1:] if len(best.seeds) > 1 else []
    said = [facts.metric.note, f"mean over {listed(over)}" if over else ""]
    inner = ", ".join(filter(None, said)) + (
        "" if np.isnan(best.std) else "; ± is the standard deviation over the seeds"
    )
    return f"Test {facts.metric.name} {scored(facts, best)}{f' ({inner})' if inner else ''}, {_cost(best)}."


def _differences(facts: ReportFacts, subject: MethodFacts) -> list[tuple[MethodFacts, Paired]]:
    """Compares `subject` with each other method, the control first."""
    control = [] if facts.control is None else [facts.control.name]
    first = [*control, *(name for name in _FIRST if name not in control)]
    others = [other for other in facts.methods if other is not subject]
    others.sort(key=lambda other: first.index(other.name) if other.name in first else len(first))
    found = [(other, facts.difference(subject, other)) for other in others]
    return [(other, difference) for other, difference in found if difference is not None]


def _rivals(facts: ReportFacts, subject: MethodFacts) -> tuple[Rival, ...]:
    return tuple(_rival(facts, subject, other, found) for other, found in _differences(facts, subject))


def _rival(facts: ReportFacts, subject: MethodFacts, other: MethodFacts, found: Paired) -> Rival:
    cost = ""
    if (subject.training_runs, other.training_runs) != (1, 1):
        cost = (
            f"{count(subject.training_runs, 'training')} ({seconds(subject.wall_s)}) instead of "
            f"{other.training_runs} ({seconds(other.wall_s)})"
        )
    control = ", the control" if other is facts.control and "control" not in other.title else ""
    return Rival(
        other=f"{other.title}{control}",
        verdict=_verdict(facts, found),
        certain=_certain(facts, found),
        evidence=_evidence(facts, subject, other, found),
        cost=cost,
    )


def _verdict(facts: ReportFacts, found: Paired) -> str:
    if found.scale == "ratio" and abs(found.relative) < 0.0005:
        return f"the same {facts.metric.name} to 0.1 %"
    if found.scale == "difference" and not float(f"{found.difference:{facts.digits}}"):
        return f"the same {facts.metric.name} to all digits shown"
    return f"{facts.metric.name} {gap(facts, found, found.difference)}"


def _evidence(facts: ReportFacts, subject: MethodFacts, other: MethodFacts, found: Paired) -> str:
    words = f"{subject.score:{facts.digits}} against {other.score:{facts.digits}}"
    wins = [f"{found.seeds_better} of {count(found.seeds, 'seed')}"] if found.seeds > 1 else []
    wins += [f"{found.wins} of {count(found.tasks, 'task')}"] if found.tasks > 1 else []
    if wins:
        words += f"; {'higher' if facts.metric.higher_is_better else 'lower'} in {', '.join(wins)}"
    if found.different >= LEAST_TASKS:
        words += f" (p {'< 0.001' if found.p_tasks < 0.001 else f'= {found.p_tasks:.3f}'})"
    return words


def _certain(facts: ReportFacts, found: Paired) -> str:
    holds = found.holds_for_seeds
    if holds is None:
        return (
            "cannot tell: one seed"
            if found.seeds == 1
            else "cannot tell: how many test examples there are beside those trained on is not known"
        )
    likely = f"with other seeds between {apart(facts, found)} ({100 * LEVEL:.0f} % interval)"
    if not holds:
        agree = ", though most tasks agree in these" if found.holds_for_tasks else ""
        return f"cannot tell: {likely}{agree}"
    if found.holds_for_tasks is False:
        return f"sure on average, not task by task: {likely}"
    return f"sure: {likely}"


def _notes(facts: ReportFacts) -> tuple[str, ...]:
    notes, several = [], len(facts.methods) > 1
    if facts.control is not None and several:
        notes.append(
            facts.control_note
            or f"{label(facts.control.name)} is the control: what is no better than it has gained nothing from its λ."
        )
    elif several or facts.best.group != "constant":
        notes.append(facts.control_note or "No control was run: this folder cannot tell whether choosing λ has helped.")
    if max(len(method.seeds) for method in facts.methods) == 1:
        notes.append("One seed: how far the numbers would move with another is not known.")
    elif several:
        tests = "" if len(facts.tasks) < LEAST_TASKS else " p: Wilcoxon's signed-rank test over the tasks."
        notes.append(
            "Intervals: Student's, paired over the seeds, widened because seeds share data (Nadeau and Bengio, "
            f"2003).{tests}"
        )
    if len(facts.ranked) > 2:
        notes.append(
            f"The {facts.metric.best} of {len(facts.ranked)} methods was picked on the same test data as it is "
            "compared on, which flatters it a little."
        )
    if any(method.group == "search" for method in facts.methods):
        notes.append(
            "Searches choose on the selection data, one training a point"
            f"{_over(facts)}. Seconds are those of one seed's whole answer."
        )
    notes += [f"{method.title}: {failure}." for method in facts.methods for failure in method.failures]
    notes += [f"{method.title}: {method.note}." for method in facts.methods if method.note]
    return tuple(note.replace("..", ".") for note in notes)


def _over(facts: ReportFacts) -> str:
    search = facts.files.results.get("search") or {}
    if len(facts.parameters) == 1:
        return f", over one λ ({facts.parameters[0]})"
    if search.get("symmetric"):
        return ", over symmetric λ; a learned λ may differ by direction"
    return f", over {len(facts.parameters)} λ" if facts.parameters else ""


def _cost(method: MethodFacts) -> str:
    each = " per seed" if len(method.seeds) > 1 else ""
    return f"from {count(method.training_runs, 'training')} in {seconds(method.wall_s)}{each}"
