"""Pairs of tasks that are close by chemistry, and their places in a ranking of all pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from paper_studies.meaning.pair_ranks import RENAMINGS

__all__ = ["CLOSE", "ClosePair", "Standing", "close_among", "standing"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ClosePair:
    """Two tasks, and the reason why they should help each other."""

    tasks: frozenset[str]
    reason: str
    kind: Literal["rule", "definition"]
    """"rule": an empirical or physical rule connects them. "definition": one is defined by the other and further
    properties, and many of its labels may have been computed from it."""

    @property
    def name(self) -> str:
        """Name of the pair, such as `"BP|HV"`."""
        return "|".join(sorted(self.tasks))


def _rule(a: str, b: str, reason: str) -> ClosePair:
    return ClosePair(frozenset((a, b)), reason, "rule")


def _definition(a: str, b: str, reason: str) -> ClosePair:
    return ClosePair(frozenset((a, b)), reason, "definition")


CLOSE: tuple[ClosePair, ...] = (
    _rule(
        "HV",
        "HVC",
        "the same quantity at 298 K and at the boiling point; Watson's relation leads from one to the other",
    ),
    _rule("BP", "HV", "Trouton's rule: the entropy of vaporization is nearly constant"),
    _rule("BP", "HVC", "Trouton's rule at the boiling point itself"),
    _rule("BP", "CT", "Guldberg's rule: the boiling point is about two thirds of the critical temperature"),
    _rule("BP", "VP", "Antoine's equation: both are points of one vapour pressure curve"),
    _rule("HV", "VP", "Clausius-Clapeyron: the slope of that curve"),
    _rule("CT", "CTP", "corresponding states: both follow from the attraction between molecules"),
    _rule("CTP", "CTV", "Pc·Vc/(R·Tc) is nearly constant"),
    _rule("CTV", "MVL", "the critical volume is a nearly constant multiple of the liquid's"),
    _rule("MVL", "MVS", "the volume of the same molecules, liquid and solid"),
    _rule("BP", "FP", "the flash point rises in proportion to the boiling point"),
    _rule("FP", "LF", "at both the vapour over the liquid can just be lit"),
    _rule("FP", "VP", "the flash point is where the vapour pressure reaches the lean limit"),
    _rule("DK", "DM", "Onsager's equation: the dipole moment in the dielectric constant"),
    _rule("CPG", "CPL", "heat capacity in two phases, both grow with every group"),
    _rule("CPG", "SAE", "heat capacity and entropy of the same vibrations"),
    _rule("HV", "ST", "both are work against cohesion"),
    _rule("SPA", "ST", "both are work against cohesion"),
    _definition("HC", "SEF", "Hess's law with the products of combustion; group additivity of both"),
    _definition("HC", "NEC", "the same combustion, with the water as liquid or as vapour"),
    _definition("NEC", "SEF", "Hess's law with the products of combustion; group additivity of both"),
    _definition("GEF", "SEF", "G = H − T·S of formation"),
    _definition("GEF", "SAE", "G = H − T·S of formation"),
    _definition("DS", "MVL", "molar volume = molar mass / density"),
    _definition("POL", "RI", "Lorentz-Lorenz equation"),
    _definition("MVL", "POL", "Lorentz-Lorenz equation"),
    _definition("HV", "SPA", "Hildebrand: δ² = (enthalpy of vaporization − R·T) / molar volume"),
    _definition("PAR", "ST", "Sugden: the parachor is molar volume times the fourth root of surface tension"),
    _definition("MVL", "PAR", "Sugden: the parachor is molar volume times the fourth root of surface tension"),
    _definition("LF", "VP", "the temperature at which the vapour pressure reaches the lower flammability limit"),
    _definition("LF", "UFT", "the same at the upper limit"),
)


def close_among(tasks: Sequence[str]) -> list[ClosePair]:
    """Return the pairs of `CLOSE` that have both tasks in `tasks`."""
    return [pair for pair in CLOSE if pair.tasks <= set(tasks)]


@dataclass(frozen=True)
class Standing:
    """The places of close pairs in a ranking of all pairs."""

    percentile: dict[str, float]
    """Percentile of each pair by name, 0 to 1: the share of the unordered pairs that rank lower; ties count half."""
    mean: float
    """Mean of the percentiles; 0.5 is expected by chance."""
    p: float
    """One-sided p that random renamings of the tasks give so high a mean: (1 + as high) / (1 + renamings)."""


def standing(matrix: Array, tasks: Sequence[str], close: Sequence[ClosePair], *, seed: int = 0) -> Standing:
    """Return the places of the `close` pairs in the ranking of `matrix`; the ranks of both directions are averaged.

    Args:
        matrix: values `[T, T]`, finite off the diagonal.
        tasks: names of rows and columns.
        close: at least one pair, all of them among the tasks.
        seed: seed of the random renamings.
    """
    n_tasks = len(tasks)
    off = ~np.eye(n_tasks, dtype=bool)
    ranks = np.zeros(matrix.shape)
    ranks[off] = rankdata(matrix[off])
    upper = np.triu(off)
    both = np.zeros(matrix.shape)
    both[upper] = (rankdata((ranks + ranks.T)[upper]) - 0.5) / upper.sum()
    both = both + both.T
    rows, columns = np.array([sorted(list(tasks).index(task) for task in pair.tasks) for pair in close]).T
    found = both[rows, columns]
    generator, as_high = np.random.default_rng(seed), 0
    for _ in range(RENAMINGS):
        new = generator.permutation(n_tasks)
        as_high += both[new[rows], new[columns]].mean() >= found.mean() - 1e-12
    percentile = {pair.name: float(value) for pair, value in zip(close, found, strict=True)}
    return Standing(percentile, float(found.mean()), float((1 + as_high) / (1 + RENAMINGS)))
