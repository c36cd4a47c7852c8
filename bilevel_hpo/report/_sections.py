"""The page as a list of sections, including those of an adapter."""

from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from bilevel_hpo.report._answer import Answer
from bilevel_hpo.report._differences import against_control, task_by_task
from bilevel_hpo.report._facts import MethodFacts, ReportFacts
from bilevel_hpo.report._lambda_figures import lambda_figures, other_lambda, trajectory
from bilevel_hpo.report._matrix_figures import CROWDED
from bilevel_hpo.report._parts import (
    Code,
    Fold,
    Gallery,
    Notes,
    PageFigure,
    Part,
    Place,
    Rival,
    Rivals,
    Section,
    Size,
    Soft,
)
from bilevel_hpo.report._search_figures import search_figures
from bilevel_hpo.report._signal_words import precision_words, signal_words
from bilevel_hpo.report._tables import methods_table, spread_words, task_table
from bilevel_hpo.report._training_figures import validation
from bilevel_hpo.report._words import capital, label, titled

__all__ = ["sections_of"]

_RIVALS = 8
"""Rivals that are compared in words at once; the others are folded."""
_OPEN = 12
"""Tasks up to which folds of them are open."""
_OPEN_OTHERS = 6


def sections_of(facts: ReportFacts, answer: Answer, added: Sequence[Section]) -> tuple[Section, ...]:
    """Returns the engine's sections in the order of `Place`, each followed by those of `added`; none is empty."""
    own = {
        "answer": Section("", tuple(_answer(facts, answer))),
        "methods": Section("Methods", (methods_table(facts),)),
        "lambda": Section(_lambda_title(facts), tuple(_lambda(facts)), link="λ"),
        "search": Section("Search", (*_gallery(search_figures(facts), "wide"),)),
        "training": Section("Validation during training", (*_gallery(validation(facts)),), link="Training"),
        "tasks": Section("Task by task" if len(facts.tasks) > 1 else "", tuple(_tasks(facts)), link="Tasks"),
        "again": Section("Repeat it", tuple(_again(facts))),
    }
    places: tuple[Place, ...] = get_args(Place)
    found = [each for place in places for each in (own.get(place), *(s for s in added if s.after == place)) if each]
    return tuple(section for section in found if section.parts and section.after != "header")


def _answer(facts: ReportFacts, answer: Answer) -> Iterator[Part]:
    yield from _gallery(against_control(facts), "wide")
    yield from _rivals(facts, answer.subject, answer.rivals)
    if answer.learned:
        yield f"{answer.learned} {answer.learned_lambda}".rstrip()
        yield from _rivals(facts, "Best learned", answer.learned_rivals)
    if answer.notes:
        yield Notes(answer.notes)


def _rivals(facts: ReportFacts, subject: str, rivals: Sequence[Rival]) -> Iterator[Part]:
    what = f"test {facts.metric.name}"
    if rivals:
        yield Rivals(subject, what, tuple(rivals[:_RIVALS]))
    if len(rivals) > _RIVALS:
        rest = Rivals(subject, what, tuple(rivals[_RIVALS:]))
        yield Fold(f"Against the {len(rivals) - _RIVALS} others", (rest,))


def _lambda_title(facts: ReportFacts) -> str:
    lambda_ = facts.shown.lambda_
    return "λ: who teaches whom" if lambda_ is not None and lambda_.square else "λ"


def _lambda(facts: ReportFacts) -> Iterator[Part]:
    shown, lambda_ = facts.shown, facts.shown.lambda_
    wide = lambda_ is not None and len(lambda_.targets) > CROWDED
    yield from _own_lambda(facts, wide=wide)
    others = list(other_lambda(facts, shown))
    if others:
        scale = ", all on one scale" if len(others) > 1 and any(f.id.startswith("heatmap") for f in others) else ""
        few = len(others) <= _OPEN_OTHERS and (lambda_ is None or len(lambda_.targets) <= _OPEN_OTHERS)
        yield Fold(f"λ of the other methods{scale}", (*_gallery(others, "wide" if wide else "pair"),), open=few)
    beside = [shown] if _is_vector(shown) else []
    rest = [method for method in facts.methods if method not in beside]
    paths = [figure for method in rest for figure in trajectory(facts, method, method.title)]
    if paths:
        yield Section("λ over training", (*_gallery(paths),))


def _own_lambda(facts: ReportFacts, *, wide: bool) -> Iterator[Part]:
    """Shows λ of the main method, and the test of its hypergradients."""
    shown, lambda_ = facts.shown, facts.shown.lambda_
    figures = list(lambda_figures(facts, shown))
    if figures and lambda_ is not None:
        direction = "λ from source → target" if lambda_.matrix is not None else "λ" if facts.lambda_note else ""
        scale = ", ".join(filter(None, [direction, facts.lambda_note]))
        yield Soft(f"{capital(titled(shown))}. {f'{scale}.' if scale else ''}".rstrip())
    if _is_vector(shown):  # there are few figures, and the way has room beside the end
        figures[1:1] = trajectory(facts, shown, "λ over training")
    first = figures[:1] if wide else figures
    yield from _gallery(first, "wide" if wide else "pair")
    yield from signal_words(facts, shown)
    yield from precision_words(facts, shown)
    yield from _gallery(figures[len(first) :], "wide")


def _is_vector(method: MethodFacts) -> bool:
    return method.lambda_ is not None and method.lambda_.matrix is None


def _tasks(facts: ReportFacts) -> Iterator[Part]:
    if len(facts.tasks) < 2:
        return
    yield from _gallery(task_by_task(facts), "wide")
    scored = [method for method in facts.methods if method.seeds]
    note = f" ({facts.metric.note})" if facts.metric.note else ""
    mean = f", mean{spread_words(facts)}" if spread_words(facts) else ""
    marked = f"; the {facts.metric.best} of each task is marked" if len(scored) > 1 else ""
    table = task_table(
        f"Test {facts.metric.name}{note}{mean}{marked}.",
        [label(method.name) for method in scored],
        [(task, "") for task in facts.tasks],
        [method.test for method in scored],
        facts.digits,
        higher_is_better=facts.metric.higher_is_better,
    )
    yield Fold("All numbers", (table,), open=len(facts.tasks) <= _OPEN)


def _again(facts: ReportFacts) -> Iterator[Part]:
    if facts.command:
        yield Code(facts.command)
    seeds = sorted({seed for method in facts.methods for seed in method.seeds})
    yield Soft(f"Seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}.")
    yield Soft(", ".join(f"{package} {version}" for package, version in facts.versions.items()))


def _gallery(figures: Iterable[PageFigure], size: Size = "pair") -> Iterator[Gallery]:
    found = tuple(figures)
    if found:
        yield Gallery(found, size)
