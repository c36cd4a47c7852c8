"""The choice of the source from which a molecule's label is taken, if there are several."""

import numpy as np
from numpy.typing import NDArray

from gate_model.data.chemicals.sources import Declaration, Derived, Solved

__all__ = ["choose"]

_CONFLICT = 6.0
_FIRM = ("tabulated", "correlation")

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


def choose(values: Values, declaration: Declaration) -> NDArray[np.int64]:
    """Return the place of the chosen source for each molecule, or -1 for no label.

    - The first source that has a value is chosen.
    - If three or more sources have a value, those farther from the median than the tolerance are passed over. If there
      are three or more printed values, the median is theirs alone: several fits can be the same fit in several tables.
    - If exactly two sources have a value, neither is an estimate, and they differ by more than six times the tolerance
      (a gross conflict), there is no label.
    - A derived value is chosen only if there is no other value. If it is in gross conflict with the chosen value, there
      is no label.

    Args:
        values: values `[N, S]` after transform and bounds, one column for each declared source, NaN = no value.
        declaration: the sources and the tolerance.
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
    """Return the median of the marked values of each row; NaN if no value is marked."""
    result = np.full(len(values), np.nan)
    some = mask.any(1)
    result[some] = np.nanmedian(np.where(mask, values, np.nan)[some], axis=1)
    return result
