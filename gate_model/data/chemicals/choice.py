"""Which of several sources a molecule's label is taken from."""

import numpy as np
from numpy.typing import NDArray

from gate_model.data.chemicals.sources import Declaration, Derived, Solved

__all__ = ["choose"]

_CONFLICT = 6.0
_FIRM = ("tabulated", "correlation")

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


def choose(values: Values, declaration: Declaration) -> NDArray[np.int64]:
    """The place of the chosen source for each molecule, -1 for no label.

    The first source with a value counts, unless three or more have one and it is farther than the tolerance from their
    median: then the first that is not. Where three or more printed values exist, theirs is the median: several fits can
    be one fit in several tables. No label where just two have one, no estimates among them, in gross conflict: farther
    apart than six times the tolerance. Derived values count where there is no other; one in gross conflict with the
    chosen value takes the label away.

    Args:
        values: `[N, S]`, a column per declared source, NaN = none, after transform and bounds.
        declaration: its sources and tolerance.
    """
    kinds = np.array([source.kind for source in declaration.sources])
    derived = np.array([isinstance(source, Derived | Solved) for source in declaration.sources])
    present = np.isfinite(values)
    measured = present & ~derived
    count = measured.sum(1)
    printed = present & (kinds == "tabulated")
    middle = np.where(printed.sum(1) >= 3, _median(values, printed), _median(values, measured))
    tolerance = declaration.tolerance * (np.abs(middle) if declaration.relative else np.ones_like(middle))
    agrees = measured & (np.abs(values - middle[:, None]) <= tolerance[:, None])
    outvoted = (count >= 3) & agrees.any(1)
    usable = np.where(outvoted[:, None], agrees, measured)

    firm = (measured & np.isin(kinds, _FIRM)).sum(1) == 2
    masked = np.where(measured, values, np.nan)
    spread = np.fmax.reduce(masked, axis=1) - np.fmin.reduce(masked, axis=1)
    usable[(count == 2) & firm & (spread > _CONFLICT * tolerance)] = False

    usable |= present & derived
    chosen = np.where(usable.any(1), usable.argmax(1), -1)
    gap = np.abs(values - values[np.arange(len(values)), chosen][:, None])
    contradicted = (present & derived & (gap > _CONFLICT * tolerance[:, None])).any(1)
    return np.where(contradicted, -1, chosen)


def _median(values: Values, mask: Mask) -> Values:
    """Of the marked values of each row, NaN where none is."""
    result = np.full(len(values), np.nan)
    some = mask.any(1)
    result[some] = np.nanmedian(np.where(mask, values, np.nan)[some], axis=1)
    return result
