"""The methods that correspond to the paper's, and those that it lacks: names, colours, and results for common seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bilevel_hpo.plots import PALETTE
from bilevel_hpo.run_folder import RunError
from paper_studies.benchmark_run import BenchmarkRun, Result

__all__ = ["COLOURS", "NAMES", "PAPER_COLOUR", "Compared", "compared"]

NAMES: Mapping[str, str] = {
    "lambda=1-plain": "GATE: λ = 1, mean over sources",
    "direct": "GATE*: direct, mean over sources",
    "lambda=0-plain": "λ = 0 (control of GATE*)",
    "budget": "budget (learned, logarithms)",
    "lambda=0": "λ = 0, logarithms (control)",
    "lambda=1-sum": "GATE: λ = 1, literal sum",
    "direct-sum": "GATE*: direct, literal sum",
    "free": "free (learned, logarithms)",
}
"""Names of the methods in figures and tables, in the order in which they are shown."""
COLOURS: Mapping[str, str] = dict(zip(NAMES, [*PALETTE[:5], PALETTE[0], PALETTE[5], PALETTE[2]], strict=True))
"""Colours of the methods. If two have the same colour, they have different symbols or are in different figures."""
PAPER_COLOUR = "#868e9a"
"""Colour of the paper's numbers in figures: a grey that is visible on white and on black."""

_NEEDED = ("lambda=1-plain", "direct", "lambda=0-plain", "budget", "lambda=0")
_OPTIONAL = ("lambda=1-sum", "direct-sum")


@dataclass(frozen=True)
class Compared:
    """The results of several methods for the same seeds."""

    run: BenchmarkRun
    seeds: tuple[int, ...]
    """Seeds for which every method has numbers."""
    results: Mapping[str, tuple[Result, ...]]
    """Results by method, in the order of `NAMES`; one for each seed."""
    about: str
    """The data and the training in a sentence, with the seeds that are left out, and why."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Abbreviations of the tasks."""
        return self.run.tasks

    def test(self, method: str) -> NDArray[np.float64]:
        """Test RMSE `[seeds, tasks]`, standardised labels."""
        return np.array([result.test_rmse for result in self.results[method]])

    def validation(self, method: str) -> NDArray[np.float64]:
        """RMSE on the selection molecules at the end `[seeds, tasks]`, standardised labels."""
        return np.array([result.val_rmse for result in self.results[method]])

    def curves(self, method: str) -> NDArray[np.float64]:
        """RMSE on the selection molecules, mean over tasks, after every epoch `[seeds, epochs]`."""
        return np.array([result.curve for result in self.results[method]])


def compared(
    folder: Path, needed: Sequence[str] = _NEEDED, optional: Sequence[str] = _OPTIONAL, *, any_of: bool = False
) -> Compared:
    """Return the results of methods in `folder`.

    Args:
        folder: folder of a finished `gate benchmark`.
        needed: methods that the run must have.
        optional: methods that are used if the run has them.
        any_of: the run must have only one of `needed`.

    Raises:
        RunError: the folder is no finished benchmark, a method is missing, or no seed has numbers of all methods; the
            message says which.
    """
    run = BenchmarkRun(folder)
    missing = [name for name in needed if name not in run.methods]
    if missing and (not any_of or len(missing) == len(needed)):
        raise run.lacks(", ".join(missing), methods=missing)
    names = [name for name in NAMES if name in run.methods and name in (*needed, *optional)]
    found = {name: {result.seed: result for result in run.results(name)} for name in names}
    out = {
        (name, seed): own[seed].failure if seed in own else "it has no result"
        for seed in sorted(set().union(*found.values()))
        for name, own in found.items()
        if seed not in own or own[seed].failure
    }
    left_out = "; ".join(f"seed {seed}, {name}: {why}" for (name, seed), why in out.items())
    seeds = sorted(set.intersection(*(set(own) for own in found.values())) - {seed for _, seed in out})
    if not seeds:
        raise RunError(f"{folder}: no seed has numbers of all of {', '.join(names)}; {left_out}")
    told = (
        f"{len(run.tasks)} tasks of {run.config['source']}, {run.config['molecules']} molecules, "
        f"{run.config['split']} split, {len(seeds)} seed{'s' * (len(seeds) != 1)}, {run.settings.epochs} epochs; "
        "RMSE on standardised labels."
    )
    if left_out:
        told += f" Left out for all methods: {left_out}."
    return Compared(run, tuple(seeds), {name: tuple(own[seed] for seed in seeds) for name, own in found.items()}, told)
