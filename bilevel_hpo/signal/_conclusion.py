"""The conclusion from the verdicts of one or several trainings, in a sentence."""

from collections.abc import Sequence

__all__ = ["conclusion"]

FEW = 8
"""Fewer independent outer steps than that do not say that there is nothing to learn."""
_SHOWN = 6


def conclusion(told: Sequence[str], anything: bool, effective_steps: float | None) -> str:
    """Returns one or two sentences.

    Args:
        told: the λ that can be told from chance, each as it is to be shown, the most certain first.
        anything: whether there is something to learn, for single λ or for all together.
        effective_steps: the number of independent outer steps of the training, or the largest of several trainings;
            None if unknown.
    """
    if told:
        more = len(told) - _SHOWN
        return f"Told from chance: {', '.join(told[:_SHOWN])}{f' and {more} more λ' if more > 0 else ''}."
    if anything:
        return "There is something to learn, but these outer steps do not say from which λ."
    if effective_steps is None:
        return "Nothing that the training did with λ can be told from chance."
    if effective_steps < FEW:
        return (
            "These outer steps are worth too few independent ones to tell anything from chance: the hypergradients "
            "change slowly, as they do without a choice of batches, or the steps are few. That says nothing for or "
            "against learning λ."
        )
    return (
        "Nothing that the training did with λ can be told from chance: constant λ, or a search over a few, would do as "
        "well."
    )
