"""Numbers and names in readable form."""

import math
from collections.abc import Sequence

import numpy as np

from bilevel_hpo.report._facts import MethodFacts, ReportFacts
from bilevel_hpo.statistics import Paired

__all__ = [
    "apart",
    "better_side",
    "capital",
    "count",
    "gap",
    "gap_axis",
    "label",
    "listed",
    "on_scale",
    "percent",
    "plus_minus",
    "scored",
    "seconds",
    "titled",
]

_LABELS = {"tpe": "TPE", "gp": "GP"}


def label(name: str) -> str:
    """Returns the short name of a method for columns and legends."""
    return f"λ = {name.removeprefix('lambda=')}" if name.startswith("lambda=") else _LABELS.get(name, name)


def titled(method: MethodFacts) -> str:
    """The title within a sentence: "learned: X" becomes "learned λ (X)", "learned X" becomes "λ learned X"."""
    kind, colon, rest = method.title.partition(": ")
    if colon and kind == "learned":
        return f"learned λ ({rest})"
    return f"λ {method.title}" if method.title.startswith("learned ") else method.title


def plus_minus(mean: float, spread: float, digits: str = ".4f") -> str:
    """Returns mean ± spread to the same digit, or only the mean without a spread.

    `digits` is a format such as ".4f"; ".4g" means four significant digits of the mean.
    """
    if np.isnan(mean):
        return "–"
    if digits.endswith("g") and mean != 0:
        after = int(digits[1:-1]) - 1 - math.floor(math.log10(abs(mean)))
        digits = f".{after}f" if 0 <= after <= 8 else digits
    return f"{mean:{digits}}" if np.isnan(spread) else f"{mean:{digits}} ± {spread:{digits}}"


def scored(facts: ReportFacts, method: MethodFacts) -> str:
    """Returns the mean score ± its spread over the seeds, with the unit."""
    return f"{plus_minus(method.score, method.std, facts.digits)} {facts.metric.unit}".rstrip()


def percent(relative: float) -> str:
    """Returns a relative difference in words: −0.052 is "5.2 % lower"."""
    return f"{abs(100 * relative):.1f} % {'lower' if relative < 0 else 'higher'}"


def on_scale(found: Paired, value: float) -> float:
    """Returns a difference of scores for the page: per cent of the reference on the scale of ratios, else unchanged."""
    return 100 * value / found.reference if found.scale == "ratio" else value


def gap(facts: ReportFacts, found: Paired, value: float) -> str:
    """Returns a difference of scores in words: "5.2 % lower", "0.0180 higher"."""
    return f"{_size(facts, found, value)} {'lower' if value < 0 else 'higher'}"


def apart(facts: ReportFacts, found: Paired) -> str:
    """Returns the interval of the difference in words: "5.1 % and 5.3 % lower", "0.2 % lower and 0.1 % higher"."""
    if found.low < 0 < found.high:
        return f"{gap(facts, found, found.low)} and {gap(facts, found, found.high)}"
    near, far = sorted((found.low, found.high), key=abs)
    return f"{_size(facts, found, near)} and {gap(facts, found, math.copysign(far, found.low + found.high))}"


def _size(facts: ReportFacts, found: Paired, value: float) -> str:
    if found.scale == "ratio":
        return f"{abs(on_scale(found, value)):.1f} %"
    unit = "percentage points" if facts.metric.unit == "%" else facts.metric.unit
    return f"{abs(value):{facts.digits}} {unit}".rstrip()


def gap_axis(facts: ReportFacts, reference: str) -> str:
    """Returns the title of an axis of differences."""
    if facts.scale == "ratio":
        return f"{facts.metric.name} against {reference}, %"
    unit = "percentage points" if facts.metric.unit == "%" else facts.metric.unit
    return f"{facts.metric.name} minus that of {reference}{f', {unit}' if unit else ''}"


def better_side(facts: ReportFacts) -> str:
    """Returns the better side of a line at no difference."""
    return "right of the line is better" if facts.metric.higher_is_better else "left of the line is better"


def seconds(value: float) -> str:
    """Returns a readable duration: 3.1 s, 42 s, 5 min 10 s, 2 h 05 min."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(number: int, noun: str) -> str:
    """1 task, 2 tasks."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def capital(text: str) -> str:
    """Returns the text with its first letter in upper case; λ stays λ."""
    return text if text.startswith("λ") else text[:1].upper() + text[1:]


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
