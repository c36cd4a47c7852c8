"""Numbers and names as people read them."""

import math

import numpy as np

from gate_model.report._facts import MethodFacts

__all__ = ["capital", "count", "label", "percent", "plus_minus", "seconds", "titled"]

_LABELS = {"lambda=1": "λ = 1", "lambda=0": "λ = 0", "tpe": "TPE"}


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


def percent(relative: float) -> str:
    """A relative difference: −0.052 is "5.2 % lower"."""
    return f"{abs(100 * relative):.1f} % {'lower' if relative < 0 else 'higher'}"


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


def count(number: int, noun: str) -> str:
    """1 task, 2 tasks."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def capital(text: str) -> str:
    """The first letter in upper case, the others as they are."""
    return text[:1].upper() + text[1:]
