"""Numbers with the digits that their uncertainty justifies."""

import math
from collections.abc import Callable, Sequence

import pandas as pd

from gate_model.predictor.headers import SIMILARITY, Headers

__all__ = ["cells", "decimals", "rounded"]

_WITHOUT_SIGMA = 6
"""Significant digits of a value whose σ is zero or unknown."""
_SIMILARITY = 3
"""Decimals of a similarity."""
_GUARD = 6
"""Decimals after which a scaled number counts as whole: 0.29 · 100 is 28.999999999999996."""


def decimals(value: float, sigma: float) -> int:
    """Decimals of a value: those of the first two significant digits of σ, after rounding. Negative: tens, hundreds.

    0.0312 → 3 (0.031); 4.27 → 1 (4.3); 27.5 → 0 (28); 123 → -1 (120); 0.0996 → 2 (0.10).
    """
    if math.isfinite(sigma) and sigma > 0:
        return 1 - _exponent(sigma, 2)
    return _WITHOUT_SIGMA - 1 - _exponent(value, _WITHOUT_SIGMA) if math.isfinite(value) else 0


def cells(value: float, sigma: float, low: float | None = None, high: float | None = None) -> list[str]:
    """One prediction as text, all of it with the same decimals; empty for NaN.

    The ends of the interval are rounded outwards, so that rounding takes nothing from its coverage.
    """
    if math.isnan(value):
        return [""] * (2 if low is None or high is None else 4)
    digits = decimals(value, sigma)
    text = [_text(value, digits), _text(sigma, digits)]
    if low is None or high is None:
        return text
    return [*text, _text(_outwards(low, digits, math.floor), digits), _text(_outwards(high, digits, math.ceil), digits)]


def rounded(frame: pd.DataFrame, columns: Sequence[Headers]) -> pd.DataFrame:
    """The predictions `frame` as text, its tasks' columns being `columns`; columns of intervals may be missing."""
    text: dict[str, list[str]] = {}
    for task in columns:
        names = [name for name in vars(task).values() if name in frame]
        rows = [cells(*row) for row in frame[names].itertuples(index=False, name=None)]
        text |= {name: [row[place] for row in rows] for place, name in enumerate(names)}
    text[SIMILARITY] = [_text(value, _SIMILARITY) for value in frame[SIMILARITY]]
    return frame.assign(**text)


def _exponent(value: float, digits: int) -> int:
    """Of the power of ten of the first digit, once `value` is rounded to `digits` significant digits."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])


def _text(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return "" if math.isnan(value) else f"{value}"
    return f"{round(value, digits) + 0.0:.{max(digits, 0)}f}"  # + 0.0: no sign on a zero


def _outwards(value: float, digits: int, towards: Callable[[float], int]) -> float:
    """`value` with `digits` decimals, rounded by `math.floor` or `math.ceil`; infinity stays."""
    if not math.isfinite(value):
        return value
    scale = 10.0**digits
    return towards(round(value * scale, _GUARD)) / scale
