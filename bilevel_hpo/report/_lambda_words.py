"""The λ of a method in words: all of them if there are few, otherwise their range and the extremes."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bilevel_hpo.report._facts import MethodFacts, ReportFacts, decimals
from bilevel_hpo.report._lambda import LambdaFacts, sample_std
from bilevel_hpo.report._words import capital, plus_minus

__all__ = ["FEW", "agreement", "chose", "lambda_words", "least", "strongest"]

FEW = 6
"""λ that are all named."""
_PAIRS = 3


def chose(facts: ReportFacts, method: MethodFacts) -> bool:
    """Whether the method chose a λ for each name; a map of one λ for all would show nothing."""
    lambda_ = method.lambda_
    if lambda_ is None or not lambda_.names or method.group in ("constant", "outside"):
        return False
    return method.group != "search" or len(facts.parameters) != 1 or not lambda_.tied


def lambda_words(facts: ReportFacts, method: MethodFacts) -> str:
    """Describes λ; empty for a method without λ, with a given λ, or for the λ of a single task to itself."""
    lambda_ = method.lambda_
    if lambda_ is None or not lambda_.names or method.group == "constant":
        return ""
    several = f", mean over {len(lambda_.values)} seeds" if len(lambda_.values) > 1 else ""
    if method.group == "search" and lambda_.tied:
        each = ", ".join(f"{value:{_digits(lambda_)}}" for value in lambda_.values[:, 0])
        pairs = "one λ for all pairs" if lambda_.targets else "one λ for all"
        return f"{capital(pairs)}: {each}{' (one for each seed)' if several else ''}."
    if method.group == "search" and lambda_.symmetric and len(lambda_.targets) <= _PAIRS:
        return f"λ{several}: {_symmetric(lambda_)}."
    direction = "source → target" if lambda_.targets else ""
    inside = ", ".join(filter(None, [direction, facts.lambda_note])) + several
    begin = f"λ ({inside.removeprefix(', ')})" if inside else "λ"
    if len(lambda_.names) <= FEW:
        return f"{begin}: {strongest(lambda_, FEW)}."
    low, median, high = np.quantile(lambda_.mean, [0.1, 0.5, 0.9])
    digits = _digits(lambda_)
    words = f"{begin}: median {median:{digits}}, 80 % of the {len(lambda_.names)} λ between {low:{digits}} and "
    words += f"{high:{digits}}; largest {strongest(lambda_, 3)}."
    rho = agreement(lambda_.values)
    if not np.isnan(rho):
        words += f" The seeds order the {len(lambda_.names)} λ with a rank correlation of {rho:.2f}."
        if rho < 0.5:
            words += " A single λ says little, then; the pattern of another seed would look different."
    return words


def strongest(lambda_: LambdaFacts, number: int) -> str:
    """Returns the largest λ, mean ± standard deviation over the seeds, with their names."""
    return _said(lambda_, np.argsort(-lambda_.mean, kind="stable")[:number])


def least(lambda_: LambdaFacts, number: int) -> str:
    """Returns the smallest λ, the smallest first."""
    return _said(lambda_, np.argsort(lambda_.mean, kind="stable")[:number])


def agreement(lambda_: NDArray[np.float64]) -> float:
    """Returns Spearman's rank correlation of the λ `[S, N]` of two seeds, the mean over pairs of seeds; NaN for one."""
    varied = [row for row in lambda_ if np.ptp(row) > 0]
    found = [float(stats.spearmanr(a, b).statistic) for a, b in combinations(varied, 2)]
    return float(np.mean(found)) if found else float("nan")


def _said(lambda_: LambdaFacts, order: NDArray[np.int64]) -> str:
    digits = _digits(lambda_)
    return ", ".join(f"{lambda_.names[i]} {plus_minus(lambda_.mean[i], lambda_.std[i], digits)}" for i in order)


def _digits(lambda_: LambdaFacts) -> str:
    """Returns a format with two digits of the largest λ, or two decimals if it is 0.1 or more."""
    return decimals(min(float(np.abs(lambda_.mean).max(initial=0.0)), 0.99), 2)


def _symmetric(lambda_: LambdaFacts) -> str:
    assert lambda_.matrix is not None
    mean, std, tasks = lambda_.matrix.mean(axis=0), sample_std(lambda_.matrix), lambda_.targets
    return ", ".join(
        f"{a} – {b} {plus_minus(mean[i, j], std[i, j], _digits(lambda_))}"
        for (i, a), (j, b) in combinations(enumerate(tasks), 2)
    )
