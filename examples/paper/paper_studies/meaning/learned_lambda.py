"""The λ that a method of a benchmark run learned: one matrix for each seed."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilevel_hpo.run_folder import RunError
from paper_studies.benchmark_run import BenchmarkRun
from paper_studies.meaning.pair_ranks import View, off_diagonal

__all__ = ["LearnedLambda", "learned_lambdas", "seeds_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LearnedLambda:
    """The learned λ of one method."""

    method: str
    seeds: tuple[int, ...]
    values: Array
    """λ in units of the direct path `[seeds, targets, sources]`."""
    failed: tuple[int, ...]
    """Seeds whose training failed; they have no λ."""

    @property
    def zeros(self) -> float:
        """Share of the λ that are 0, their lower bound."""
        return float((self.values[:, off_diagonal(self.values.shape[1])] == 0).mean())

    @property
    def scale(self) -> str:
        """The scale on which λ is analysed: `log λ`, or `λ` if some are 0."""
        return "λ" if self.zeros else "log λ"

    @property
    def telling(self) -> View:
        """The view that tells most about single pairs.

        It is "pairs alone" unless some λ are 0: a λ at its bound does not follow the level of its source, so this level
        cannot be subtracted.
        """
        return "within targets" if self.zeros else "pairs alone"

    @property
    def scaled(self) -> Array:
        """λ on that scale, with 0 on the diagonal."""
        scaled = self.values.copy() if self.scale == "λ" else np.log(self.values)
        scaled[:, ~off_diagonal(scaled.shape[1])] = 0.0
        return scaled


def learned_lambdas(run: BenchmarkRun) -> list[LearnedLambda]:
    """Return the learned λ of every method of the run that learns it.

    Raises:
        RunError: there is none, one has fewer than two seeds, or the run has fewer than three tasks.
    """
    if not run.learned:
        raise run.lacks("a method that learns λ", methods=["budget"])
    if len(run.tasks) < 3:
        raise RunError(
            f"{run.folder} has the tasks {', '.join(run.tasks)}; at least 3 are needed to tell pairs from the "
            "levels of targets and sources"
        )
    return [_learned(run, method) for method in run.learned]


def seeds_of(learned: Iterable[LearnedLambda]) -> list[int]:
    """Return the seeds for which at least one of these methods has λ, in ascending order."""
    return sorted({seed for each in learned for seed in each.seeds})


def _learned(run: BenchmarkRun, method: str) -> LearnedLambda:
    results = run.results(method)
    good = [result for result in results if not result.failure]
    if len(good) < 2:
        raise run.lacks(f"a second seed with λ of {method}", seeds=len(results) + 2 - len(good))
    values = np.stack([result.lambda_[0] for result in good])
    return LearnedLambda(
        method,
        tuple(result.seed for result in good),
        values,
        tuple(result.seed for result in results if result.failure),
    )
