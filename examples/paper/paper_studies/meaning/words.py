"""The findings as tables, and in sentences that follow from the numbers."""

import math
from collections.abc import Mapping

from paper_studies.meaning.pair_ranks import VIEWS, View
from paper_studies.meaning.relations import Agreement, Relations

__all__ = [
    "CHANCE",
    "agreement_lines",
    "bound_words",
    "chemistry_words",
    "labels_words",
    "number",
    "p_text",
    "pair_words",
    "relation_lines",
]

CHANCE = "p of correlations and percentiles: one-sided, by renaming the tasks at random; of single pairs: F test."

_SURE = 0.05
"""A p below this value is called more than chance."""
_HALF = 0.5
"""A reliability below this value is called mostly chance."""


def number(value: float, digits: int = 2) -> str:
    """Return the number as text, with its sign and a true minus; "–" for NaN."""
    if math.isnan(value):
        return "–"
    rounded = round(value, digits)
    return f"{abs(rounded):.{digits}f}" if rounded == 0 else f"{rounded:+.{digits}f}".replace("-", "−")


def relation_lines(found: Mapping[str, Relations], seeds: Mapping[str, int]) -> list[str]:
    """Return two tables with one row for each quantity: its stability, and its agreement with chemistry and labels.

    Args:
        found: properties by the name of the quantity.
        seeds: number of seeds by the same name.
    """
    stable, related = [], []
    for name, each in found.items():
        shares = [f"{100 * share:.0f}" for share in each.variance.shares.values()]
        stable.append(
            [
                name,
                str(seeds[name]),
                *(number(each.mean(view)) + _spread(each.std(view)) for view in VIEWS),
                f"{' + '.join(shares[:3])} %",
                f"{' + '.join(shares[3:])} %",
                p_text(each.variance.p_pair),
                f"{each.reliability['pairs alone']:.2f}",
            ]
        )
        close = each.chemistry["pairs alone"]
        related.append(
            [
                name,
                *(
                    f"{100 * close[kind].mean:.0f} % ({p_text(close[kind].p)})" if kind in close else "–"
                    for kind in ("rule", "definition")
                ),
                *(f"{number(each.labels[view].rho)} ({p_text(each.labels[view].p)})" for view in VIEWS),
            ]
        )
    views = list(VIEWS)
    shares_of = ["same for all seeds: target, source, pair", "the seed's own: target, source, pair"]
    first = ["ρ between seeds", "seeds", *views, *shares_of, "p of single pairs", "reliability of pairs, mean of seeds"]
    second = ["", "close pairs by rule: percentile", "by definition", *(f"ρ with labels, {view}" for view in views)]
    return [*_table(first, stable), "", *_table(second, related)]


def pair_words(found: Relations, n_seeds: int) -> str:
    """Return a sentence on whether the seeds agree on single pairs."""
    own, pair = 100 * (1 - found.variance.stable), 100 * found.variance.shares["pair"]
    reliability = found.reliability["pairs alone"]
    text = f"{own:.0f} % of the variance within a seed is the seed's own, {pair:.0f} % the pair's in all seeds. "
    if not found.variance.p_pair < _SURE or reliability == 0:
        return f"{text}**Seeds do not agree on single pairs.**"
    if reliability < _HALF:
        return f"{text}**Seeds agree on single pairs, but so little that the mean of {n_seeds} is mostly chance.**"
    return f"{text}**Seeds agree on single pairs, and the mean of {n_seeds} is mostly not chance.**"


def chemistry_words(found: Relations) -> str:
    """Return a sentence on the places of close pairs, after the levels of targets and sources are subtracted."""
    if not found.chemistry["pairs alone"]:
        return "The tasks have none of the pairs that ought to be close."
    close = found.chemistry["pairs alone"]["all"]
    return (
        f"Pairs that ought to be close stand {_verdict(close.p)} ({100 * close.mean:.0f} % of the pairs stand lower)."
    )


def bound_words(found: Relations, zeros: float) -> str:
    """Return a sentence on single pairs if a share of the λ is 0."""
    view: View = "within targets"
    return (
        f"{100 * zeros:.0f} % of its λ are 0, the bound, where no level can be taken out: its numbers of pairs alone "
        f"and of close pairs are not to be trusted. Two seeds rank the sources of one target with a correlation of "
        f"{number(found.mean(view))}{_spread(found.std(view))}."
    )


def labels_words(found: Relations, view: View) -> str:
    """Return a sentence on the agreement with the correlations of the labels."""
    return f"Pairs whose labels go together stand {_verdict(found.labels[view].p)} ({view})."


def agreement_lines(found: Mapping[str, Mapping[View, Agreement]], telling: Mapping[str, View]) -> list[str]:
    """Return a table of the agreement between learned λ and the gain, and a sentence for each method.

    Args:
        found: agreement by method.
        telling: the view that the sentence is about, by method.
    """
    rows = [
        [f"`{name}`", *(f"{number(each.rho)} ({p_text(each.p)}; {each.ceiling:.2f})" for each in views.values())]
        for name, views in found.items()
    ]
    table = _table(["ρ of λ with the gain (highest that noise allows)", *VIEWS], rows)
    return [
        *table,
        "",
        *(f"- `{name}`: {_agreed(views[telling[name]], telling[name])}" for name, views in found.items()),
    ]


def _agreed(found: Agreement, view: View) -> str:
    if math.isnan(found.rho):
        return f"λ or the gain does not vary ({view})."
    if found.ceiling == 0:
        return f"the seeds disagree so much that nothing could agree with their mean ({view})."
    return f"the gain of pairs with a large λ stands {_verdict(found.p)} ({view})."


def _verdict(p: float) -> str:
    if math.isnan(p):
        return "nowhere, since nothing varies"
    if p < _SURE:
        return "**higher than by chance**"
    return "**lower than by chance**" if p > 1 - _SURE else "**no higher than by chance**"


def p_text(p: float) -> str:
    """Return a p-value as text; "–" for NaN."""
    if math.isnan(p):
        return "–"
    return "p < 0.0001" if p < 1e-4 else f"p {p:.1g}" if p < 0.01 else f"p {p:.2f}"


def _spread(std: float) -> str:
    return "" if math.isnan(std) else f" ± {std:.2f}"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
