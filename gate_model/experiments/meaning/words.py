"""The relations in words that follow from the numbers."""

from gate_model.experiments.meaning.pair_ranks import VIEWS, View
from gate_model.experiments.meaning.relations import Agreement, Relations

__all__ = [
    "ENOUGH",
    "SURE",
    "agreement_words",
    "chemistry_words",
    "labels_words",
    "number",
    "pair_words",
    "seeds_words",
]

SURE = 0.05
"""p below this is called more than chance."""
ENOUGH = 0.5
"""A reliability below this is called mostly chance: less than half of the variance is the same in other seeds."""


def number(value: float, digits: int = 2) -> str:
    """With its sign, a true minus; "undefined" for NaN."""
    return "undefined" if value != value else f"{value:+.{digits}f}".replace("-", "−")  # noqa: PLR0124  NaN


def seeds_words(found: Relations) -> str:
    """How alike two seeds are."""
    said = [f"{number(found.mean(view))} ± {found.std(view):.2f} ({view})" for view in VIEWS]
    return f"Two seeds rank with a correlation of {', '.join(said)}."


def pair_words(found: Relations, n_seeds: int, what: str) -> str:
    """Whether there is something to single pairs."""
    shares = found.variance.shares
    text = (
        f"Of the variance of {what} within a seed {found.variance.stable:.0%} is the same for all seeds: "
        f"{shares['target']:.0%} the target's, {shares['source']:.0%} the source's, {shares['pair']:.0%} the pair's. "
        f"The seed's own are {shares['target by seed']:.0%}, {shares['source by seed']:.0%} and "
        f"{shares['pair by seed']:.0%}. "
    )
    reliability = found.reliability["pairs alone"]
    if not found.variance.p_pair < SURE:
        return f"{text}**The seeds do not agree on single pairs** (p {found.variance.p_pair:.2g})."
    if reliability < ENOUGH:
        return (
            f"{text}**The seeds agree on single pairs a little** (p {found.variance.p_pair:.1g}), but even the mean of "
            f"{n_seeds} is mostly chance (reliability {reliability:.2f})."
        )
    return (
        f"{text}**The seeds agree on single pairs** (p {found.variance.p_pair:.1g}); the mean of {n_seeds} has a "
        f"reliability of {reliability:.2f}."
    )


def chemistry_words(found: Relations) -> str:
    """Where close pairs stand."""
    if not found.chemistry["all pairs"]:
        return "The tasks have none of the pairs that ought to be close."
    said = []
    for view, kinds in found.chemistry.items():
        parts = [
            f"{each.mean:.0%} ({kind}, {len(each.percentile)} pairs, p {each.p:.2g})" for kind, each in kinds.items()
        ]
        said.append(f"{view}: {', '.join(parts)}")
    verdict = _verdict(found.chemistry["pairs alone"]["all"].p, "higher than by chance")
    return (
        f"Pairs that ought to be close stand on average at this percentile (50 % by chance): {'; '.join(said)}. "
        f"With the levels of targets and sources taken out they stand {verdict}."
    )


def labels_words(found: Relations) -> str:
    """Agreement with what the labels say."""
    said = [f"{number(each.rho)} ({view}, p {each.p:.2g})" for view, each in found.labels.items()]
    return f"Correlation with how closely the labels themselves go together: {', '.join(said)}."


def agreement_words(found: dict[View, Agreement]) -> str:
    """Of learned λ with the measured gain."""
    said = [f"{number(each.rho)} ({view}, p {each.p:.2g}, at most {each.ceiling:.2f})" for view, each in found.items()]
    alone = found["pairs alone"]
    if alone.rho != alone.rho:  # noqa: PLR0124  NaN
        verdict = "λ or the gain does not vary, so that they cannot be compared"
    elif alone.ceiling == 0:
        verdict = "seeds agree so little on single pairs that nothing could agree with their mean"
    else:
        verdict = f"single pairs with a large λ have a gain {_verdict(alone.p, 'higher than by chance')}"
    return f"Correlation of λ with the gain: {', '.join(said)}. In words: {verdict}."


def _verdict(p: float, higher: str) -> str:
    if p < SURE:
        return f"**{higher}**"
    return "**lower than by chance**" if p > 1 - SURE else "**no higher than by chance**"
