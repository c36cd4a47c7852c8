"""The result in plain words, no better than the numbers allow."""

import math
from dataclasses import dataclass

import numpy as np

from gate_model.report._facts import Difference, MethodFacts, ReportFacts

__all__ = ["Against", "Answer", "answer", "label", "plus_minus", "seconds", "titled"]

_LABELS = {"lambda=1": "λ = 1", "lambda=0": "λ = 0", "tpe": "TPE"}
_RIVALS = ("lambda=0", "lambda=1", "grid", "tpe")


@dataclass(frozen=True)
class Against:
    """One line of comparison."""

    other: str
    """Title of the other method."""
    verdict: str
    """In words, with the percentage."""
    evidence: str
    """The numbers behind it."""
    within_spread: bool | None


@dataclass(frozen=True)
class Answer:
    """What the page says first."""

    headline: str
    summary: str
    subject: str
    """Title of the method that `against` is about."""
    against: tuple[Against, ...]
    learned: str
    """If the best method is not learned: how the best learned one stands; else empty."""
    learned_against: tuple[Against, ...]
    notes: tuple[str, ...]


def answer(facts: ReportFacts) -> Answer:
    """Who has the lowest mean test RMSE, by how much, and at which cost."""
    best, learned = facts.best, facts.best_learned
    others = [method for method in facts.methods if method is not best]
    runner_up = min(others, key=lambda method: method.rmse, default=None)
    behind = learned if learned is not best else None
    return Answer(
        headline=_headline(facts, best, runner_up),
        summary=_summary(facts, best),
        subject=_capital(titled(best)),
        against=_all_against(facts, best),
        learned=""
        if behind is None
        else f"Best learned: {titled(behind)}, test RMSE {_score(behind)}, {_cost(behind)}.",
        learned_against=() if behind is None else _all_against(facts, behind),
        notes=_notes(facts),
    )


def label(name: str) -> str:
    """Short name of a method for columns and legends."""
    return _LABELS.get(name, name)


def titled(method: MethodFacts) -> str:
    """The title as part of a sentence: "learned: X" becomes "learned λ (X)"."""
    kind, colon, rest = method.title.partition(": ")
    return f"learned λ ({rest})" if colon and kind == "learned" else method.title


def plus_minus(mean: float, spread: float, digits: str = ".4f") -> str:
    """Mean ± spread to the same digit, or the mean alone where there is no spread.

    `digits` is a format such as ".4f"; ".4g" means four significant digits of the mean.
    """
    if np.isnan(mean):
        return "–"
    if digits.endswith("g") and mean != 0:
        after = int(digits[1:-1]) - 1 - math.floor(math.log10(abs(mean)))
        digits = f".{after}f" if 0 <= after <= 8 else digits
    return f"{mean:{digits}}" if np.isnan(spread) else f"{mean:{digits}} ± {spread:{digits}}"


def seconds(value: float) -> str:
    """A duration for people: 3.1 s, 42 s, 5 min 10 s, 2 h 05 min."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _headline(facts: ReportFacts, best: MethodFacts, runner_up: MethodFacts | None) -> str:
    if runner_up is None:
        return f"{_capital(titled(best))}: mean test RMSE {best.rmse:.4f}"
    control = ", the control," if best.name == "lambda=0" and "control" not in best.title else ""
    claim = f"{_capital(titled(best))}{control} has the lowest mean test RMSE"
    # The control first, then the runner-up; a lead is only called one if it holds over every other method.
    others = sorted(facts.methods, key=lambda method: (method.name != "lambda=0", method is not runner_up))
    rivals = [rival for rival in others if rival is not best]
    differences = [found for rival in rivals if (found := facts.difference(best, rival)) is not None]
    if not differences:
        return f"{claim}."
    if any(found.within_spread is None for found in differences):
        return f"{claim}, in the one seed that was run."
    for found in differences:
        if found.within_spread:
            other = "λ = 0, the control," if found.other == "lambda=0" else label(found.other)
            return f"{claim}, but its lead over {other} is within the spread of the seeds."
    return f"{claim}, by more than the spread of the seeds."


def _summary(facts: ReportFacts, best: MethodFacts) -> str:
    over = f"mean over {_count(len(facts.tasks), 'task')} and {_count(len(best.seeds), 'seed')}"
    spread = "" if np.isnan(best.rmse_std) else "; ± is the standard deviation over the seeds"
    return f"Test RMSE {_score(best)} (standardised labels, {over}{spread}), {_cost(best)}."


def _all_against(facts: ReportFacts, subject: MethodFacts) -> tuple[Against, ...]:
    lines = []
    for name in _RIVALS:
        other = facts.method(name)
        if other is None or other is subject:
            continue
        difference = facts.difference(subject, other)
        if difference is not None:
            lines.append(_against(subject, other, difference))
    return tuple(lines)


def _against(subject: MethodFacts, other: MethodFacts, difference: Difference) -> Against:
    percent = 100 * difference.relative
    if abs(percent) < 0.05:
        verdict = "the same RMSE to 0.1 %"
    else:
        verdict = f"RMSE {abs(percent):.1f} % {'lower' if percent < 0 else 'higher'}"
    if difference.within_spread:
        verdict += ", within the spread of the seeds"
    evidence = f"{subject.rmse:.4f} against {other.rmse:.4f}"
    if not np.isnan(difference.spread):
        evidence += f", difference {difference.absolute:+.4f} ± {difference.spread:.4f}".replace("-", "−")
        evidence += f", lower in {difference.seeds_better} of {difference.seeds} seeds"
    evidence += f" and in {difference.tasks_better} of {_count(difference.tasks, 'task')}"
    if (subject.training_runs, other.training_runs) != (1, 1):
        evidence += (
            f"; {_count(subject.training_runs, 'training')} ({seconds(subject.wall_s)}) instead of "
            f"{other.training_runs} ({seconds(other.wall_s)})"
        )
    title = f"{other.title}, the control" if other.name == "lambda=0" and "control" not in other.title else other.title
    return Against(title, verdict, evidence, difference.within_spread)


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
    if {"grid", "tpe"} & names:
        notes.append(
            "Searches choose on the selection molecules, one training a point, over symmetric λ; a learned λ may "
            "differ by direction. Seconds are those of one seed's whole answer."
        )
    return tuple(notes)


def _score(method: MethodFacts) -> str:
    return plus_minus(method.rmse, method.rmse_std)


def _cost(method: MethodFacts) -> str:
    each = " per seed" if len(method.seeds) > 1 else ""
    return f"from {_count(method.training_runs, 'training')} in {seconds(method.wall_s)}{each}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
