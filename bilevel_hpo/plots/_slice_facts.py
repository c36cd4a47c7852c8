"""The data of the matrix of slices: the trials in each cut through the optimum, and the values between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray

from bilevel_hpo.plots._landscape_facts import LandscapeFacts, drawn_facts

__all__ = ["Plane", "SliceFacts", "slice_facts"]

_MAX_PARAMS = 6
_MESH = 33
_REACH = (0.08, 0.25)


@dataclass(frozen=True, eq=False)
class Plane:
    """One cut in which two λ vary and the others stay near the optimum."""

    rows: NDArray[np.int64]
    """The points of the landscape in this cut."""
    x: NDArray[np.float64]
    """Mesh of the first λ, `[33]`."""
    y: NDArray[np.float64]
    """Mesh of the second, `[33]`."""
    z: NDArray[np.float32]
    """Objective by linear interpolation between the points, `[33, 33]` (rows: y); NaN where no point is near."""
    reach: float
    """The largest distance from a point with a colour, as a share of the range of each λ."""


@dataclass(frozen=True, eq=False)
class SliceFacts:
    """Everything that `slices` draws."""

    landscape: LandscapeFacts
    width: float
    lines: tuple[NDArray[np.int64], ...]
    """For each λ the points that differ from the optimum in that λ alone, by its rising value."""
    planes: dict[tuple[int, int], Plane]
    """By the pair of λ (first < second) that vary."""

    def to_frame(self) -> pd.DataFrame:
        """Returns the points of every cut: `cut` names the λ that vary; then the columns of the landscape's table."""
        table, names = self.landscape.to_frame(), self.landscape.params
        cuts = {names[i]: rows for i, rows in enumerate(self.lines)}
        cuts |= {f"{names[i]} × {names[j]}": plane.rows for (i, j), plane in self.planes.items()}
        points = [table.iloc[rows].assign(cut=cut) for cut, rows in cuts.items()]
        ways = table[table["what"] == "trajectory"].assign(cut="")
        found = pd.concat([*points, ways], ignore_index=True)
        return found[["cut", *table.columns]]


def slice_facts(
    study: "optuna.Study | LandscapeFacts",
    learned: object = None,
    *,
    params: Sequence[str] | None = None,
    width: float = 0.05,
) -> SliceFacts:
    """Returns what `slices` draws; the arguments and errors are the same."""
    if not 0 <= width <= 1:
        raise ValueError(f"width must be a share of the range of each λ, from 0 to 1; got {width}")
    facts = drawn_facts(study, learned, params)
    P = len(facts.params)
    if P > _MAX_PARAMS:
        raise ValueError(f"there are {P} λ {list(facts.params)}; up to {_MAX_PARAMS} can be drawn: choose with params")
    low, extent = facts.points.min(axis=0), np.ptp(facts.points, axis=0)
    extent[extent == 0] = 1
    unit = (facts.points - low) / extent
    near = np.abs(unit - unit[facts.optimum]) <= width + 1e-9  # a point on the border of the cut counts
    lines = []
    for i in range(P):
        rows = np.flatnonzero(np.delete(near, i, axis=1).all(axis=1))
        lines.append(rows[np.argsort(facts.points[rows, i], kind="stable")])
    planes = {}
    for i, j in combinations(range(P), 2):
        rows = np.flatnonzero(np.delete(near, [i, j], axis=1).all(axis=1))
        z, reach = _interpolated(unit[rows][:, [i, j]], facts.values[rows])
        mesh = np.linspace(0, 1, _MESH)
        planes[i, j] = Plane(rows, low[i] + extent[i] * mesh, low[j] + extent[j] * mesh, z, reach)
    return SliceFacts(facts, width, tuple(lines), planes)


def _interpolated(at: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
    """Interpolates linearly between the points `at` `[n, 2]` of the unit square; NaN outside their hull or far from
    all.

    Far means beyond three quarters of the usual distance between neighbours, which closes the cells of a grid, and at
    most a quarter of the range.
    """
    from scipy.interpolate import LinearNDInterpolator  # noqa: PLC0415  half a second that nobody else need wait for
    from scipy.spatial import QhullError, cKDTree  # noqa: PLC0415

    nothing = np.full((_MESH, _MESH), np.nan, dtype=np.float32)
    places, back = np.unique(at, axis=0, return_inverse=True)
    means = np.bincount(back.ravel(), values) / np.bincount(back.ravel())
    if len(places) < 3:
        return nothing, 0.0
    tree = cKDTree(places)
    reach = float(np.clip(0.75 * np.median(tree.query(places, k=2)[0][:, 1]), *_REACH))
    mesh = np.linspace(0, 1, _MESH)
    x, y = np.meshgrid(mesh, mesh)
    try:
        z = LinearNDInterpolator(places, means)(x, y)
    except QhullError:  # all on one line: nothing to interpolate between
        return nothing, 0.0
    distance = tree.query(np.stack([x, y], axis=-1))[0]
    return np.where(distance <= reach + 1e-9, z, np.nan).astype(np.float32), reach
