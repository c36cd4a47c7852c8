"""The methods of the leaderboard by name; docs/leaderboard.md says what each is and where it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from bilevel_hpo import comparison
from bilevel_hpo.comparison import BestOf, Single
from gate_model.data.prepared import PreparedData
from gate_model.experiments.leaderboard._answer import Runner
from gate_model.experiments.leaderboard._gate import GateTraining, SingleTasks, WeightedByRule
from gate_model.experiments.leaderboard._learners import (
    AUTO_LAMBDA,
    DIRECT_SUM,
    FREE,
    LITERAL_SUM,
    implicit,
)
from gate_model.experiments.leaderboard._outside import Chemprop, Trees, extra_trees, lightgbm
from gate_model.experiments.leaderboard.by_labels import tpe_by_labels
from gate_model.training.methods import LEARNED, Method, constant
from gate_model.training.weighting import Decay, DynamicWeightAverage, GradNorm, PCGrad, Uncertainty

__all__ = ["ENTRIES", "UNIFORM", "UNIFORM_VALUES", "Entry", "entries_of", "methods_of"]

Group = Literal["learned", "constant", "weighting", "search", "outside"]

UNIFORM = "uniform"
"""Name of the best uniform λ: it needs no training of its own, because it chooses among the constant λ."""
TPE, TRIALS = "tpe", 20
UNIFORM_VALUES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)


@dataclass(frozen=True)
class Entry:
    """One method of the leaderboard."""

    name: str
    title: str
    group: Group
    run: Runner | None
    """Function that trains it; None for a search, and for the best of other methods."""
    waits_for: str = ""
    """The method whose seconds are its time limit, if it has one."""
    needs: str | None = None
    """An optional module that it imports."""


def _constant(value: float, title: str | None = None) -> Entry:
    name = f"lambda={value:g}"
    return Entry(name, title or f"constant λ = {value:g}", "constant", GateTraining(constant(name, "", value)))


def _plain(method: Method) -> GateTraining:
    """Return the training with the losses as the paper prints them instead of their logarithms."""
    return GateTraining(method, {"relative_losses": False})


def _implicit(name: str, title: str) -> Entry:
    return Entry(name, title, "learned", GateTraining(implicit(name)))


_ALL = [
    Entry("budget", "learned: one step on a budget", "learned", GateTraining(LEARNED["budget"])),
    Entry("direct", "learned: Direct, as published, plain losses", "learned", _plain(LEARNED["direct"])),
    Entry(
        "direct-sum",
        "the same, mapping losses summed over the sources, literally",
        "learned",
        _plain(DIRECT_SUM),
    ),
    Entry("budget-plain", "learned: one step on a budget, plain losses", "learned", _plain(LEARNED["budget"])),
    Entry(
        "free",
        "learned: one step on a free λ",
        "learned",
        GateTraining(FREE),
    ),
    Entry(
        "auto-lambda",
        "learned: Auto-λ's finite difference on a free λ",
        "learned",
        GateTraining(AUTO_LAMBDA),
    ),
    _implicit("neumann", "learned: Neumann series on a budget"),
    _implicit("conjugate-gradient", "learned: conjugate gradient on a budget"),
    _implicit("nystrom", "learned: Nyström approximation on a budget"),
    Entry("lambda=1-plain", "constant λ = 1, plain losses: GATE", "constant", _plain(constant("", "", 1.0))),
    Entry(
        "lambda=1-sum",
        "the same, mapping losses summed over the sources, literally",
        "constant",
        _plain(LITERAL_SUM),
    ),
    Entry("lambda=0-plain", "constant λ = 0, plain losses", "constant", _plain(constant("", "", 0.0))),
    _constant(1.0),
    _constant(0.0, "constant λ = 0: no mapping losses"),
    *(_constant(value) for value in UNIFORM_VALUES[1:-1]),
    Entry("decay", "λ falls by a schedule, without validation data", "weighting", WeightedByRule(Decay)),
    Entry("uncertainty", "uncertainty weighting, λ = 1", "weighting", WeightedByRule(Uncertainty)),
    Entry("dwa", "dynamic weight average, λ = 1", "weighting", WeightedByRule(DynamicWeightAverage)),
    Entry("gradnorm", "GradNorm, λ = 1", "weighting", WeightedByRule(GradNorm)),
    Entry("pcgrad", "PCGrad, λ = 1", "weighting", WeightedByRule(PCGrad)),
    Entry(
        "uncertainty-0", "uncertainty weighting, λ = 0", "weighting", WeightedByRule(partial(Uncertainty, lambda_=0.0))
    ),
    Entry(
        "dwa-0",
        "dynamic weight average, λ = 0",
        "weighting",
        WeightedByRule(partial(DynamicWeightAverage, lambda_=0.0)),
    ),
    Entry("gradnorm-0", "GradNorm, λ = 0", "weighting", WeightedByRule(partial(GradNorm, lambda_=0.0))),
    Entry("pcgrad-0", "PCGrad, λ = 0", "weighting", WeightedByRule(partial(PCGrad, lambda_=0.0))),
    Entry(UNIFORM, "best uniform λ of 8, chosen on selection molecules", "search", None),
    Entry(TPE, f"TPE, {TRIALS} trainings, λ by the targets' number of labels", "search", None),
    Entry("single", "single-task networks", "outside", SingleTasks()),
    Entry("extra-trees", "ExtraTrees per task", "outside", Trees(extra_trees), needs="sklearn.ensemble"),
    Entry("lightgbm", "LightGBM per task", "outside", Trees(lightgbm), needs="lightgbm"),
    Entry("chemprop", "chemprop multi-task, as many epochs", "outside", Chemprop()),
    Entry(
        "chemprop-timed", "chemprop multi-task, as many seconds", "outside", Chemprop(timed=True), waits_for="lambda=1"
    ),
]

ENTRIES = {entry.name: entry for entry in _ALL}


def entries_of(names: list[str]) -> list[Entry]:
    """Return the entries of these names, in the order of the table.

    The entry `uniform` also needs the constant λ that it chooses from, so these are added.

    Raises:
        ValueError: a name is not known, or a method has a time limit and the method that sets it is not named.
    """
    unknown = [name for name in names if name not in ENTRIES]
    if unknown:
        raise ValueError(f"--methods: no method is called {', '.join(unknown)}; known are {', '.join(ENTRIES)}")
    wanted = set(names)
    if UNIFORM in wanted:
        wanted |= {f"lambda={value:g}" for value in UNIFORM_VALUES}
    for entry in (ENTRIES[name] for name in wanted):
        if entry.waits_for and entry.waits_for not in wanted:
            raise ValueError(f"--methods: {entry.name} trains as long as {entry.waits_for}; name that method too")
    return [entry for entry in ENTRIES.values() if entry.name in wanted]


def methods_of(entries: Sequence[Entry], datasets: Mapping[int, PreparedData]) -> list[comparison.Method]:
    """Return the entries as methods of a comparison on these data, which are given by seed."""
    return [_method(entry, datasets) for entry in entries]


def _method(entry: Entry, datasets: Mapping[int, PreparedData]) -> comparison.Method:
    if entry.name == TPE:
        return tpe_by_labels(TPE, entry.title, TRIALS, datasets)
    if entry.name == UNIFORM:
        return BestOf(tuple(f"lambda={value:g}" for value in UNIFORM_VALUES), UNIFORM, entry.title)
    return Single(entry.name, entry.title, entry.group, entry.waits_for)
