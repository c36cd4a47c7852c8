"""The λ of a method in words: all of them when there are few, else where most of them lie, and which stand out."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gate_model.report._facts import MethodFacts, ReportFacts
from gate_model.report._words import plus_minus
from gate_model.training import SMALL_LAMBDA

__all__ = ["agreement", "lambda_words", "strongest"]


def lambda_words(facts: ReportFacts, method: MethodFacts) -> str:
    """Empty for a λ that was given beforehand, and for a single task."""
    T = len(facts.tasks)
    if method.group == "constant" or T < 2:
        return ""
    off = method.lambda_[:, ~np.eye(T, dtype=bool)]
    several = f", mean over {len(off)} seeds" if len(off) > 1 else ""
    if method.group == "search" and facts.shared:
        each = ", ".join(f"{value:.2f}" for value in off[:, 0])
        return f"One λ for all pairs: {each}{' (one for each seed)' if len(off) > 1 else ''}."
    if method.group == "search" and T == 3:
        mean, std = _mean_std(method.lambda_)
        named = [
            f"{a} – {b} {plus_minus(mean[i, j], std[i, j], '.2f')}"
            for (i, a), (j, b) in combinations(enumerate(facts.tasks), 2)
        ]
        return f"λ{several}: {', '.join(named)}."
    if T <= 3:
        return f"λ (source → target, in units of the direct path{several}): {strongest(facts, method, T * (T - 1))}."
    average = off.mean(axis=0)
    small = 100 * (average < SMALL_LAMBDA).mean()
    words = (
        f"λ (source → target, in units of the direct path{several}): median {np.median(average):.2f}, "
        f"{small:.0f} % below {SMALL_LAMBDA:g}; strongest {strongest(facts, method, 3)}."
    )
    rho = agreement(off)
    if not np.isnan(rho):
        words += f" The seeds order the {off.shape[1]} λ with a rank correlation of {rho:.2f}."
        if rho < 0.5:
            words += " A single λ says little, then; the pattern of another seed would look different."
    return words


def strongest(facts: ReportFacts, method: MethodFacts, number: int) -> str:
    """The largest λ, mean ± standard deviation over the seeds, with their names."""
    mean, std = _mean_std(method.lambda_)
    edges = [(t, s) for t in range(len(facts.tasks)) for s in range(len(facts.tasks)) if t != s]
    edges.sort(key=lambda edge: mean[edge], reverse=True)
    names = facts.tasks
    return ", ".join(f"{names[s]} → {names[t]} {plus_minus(mean[t, s], std[t, s], '.2f')}" for t, s in edges[:number])


def agreement(lambda_: NDArray[np.float64]) -> float:
    """Spearman's rank correlation between the λ `[S, N]` of two seeds, mean over the pairs of seeds; NaN for one."""
    varied = [row for row in lambda_ if np.ptp(row) > 0]
    found = [float(stats.spearmanr(a, b).statistic) for a, b in combinations(varied, 2)]
    return float(np.mean(found)) if found else float("nan")


def _mean_std(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    std = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)
    return values.mean(axis=0), std
