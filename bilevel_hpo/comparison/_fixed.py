"""A constant λ, in the shape that the losses receive."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from bilevel_hpo.learner import Weights
from bilevel_hpo.problem import Lambda, Structure

__all__ = ["FixedWeights", "flat", "labels_of", "with_values"]


class FixedWeights(nn.Module):
    """A constant λ in place of `weights`, without a constraint; `BilevelLearner.fit(outer_every=None)` keeps it.

    Args:
        weights: the module whose λ has the required shape.
        lambda_: all entries of λ in order, `[N]`.
    """

    def __init__(self, weights: Weights, lambda_: Sequence[float]) -> None:
        super().__init__()
        example = weights()
        self._structure = Structure(example)
        like = self._structure.flatten(example).detach()
        self.raw = nn.Parameter(torch.as_tensor(list(lambda_), dtype=like.dtype, device=like.device))
        self.labels = labels_of(weights)

    def forward(self) -> Lambda:
        """λ."""
        return self._structure.unflatten(self.raw)


def flat(weights: Weights) -> list[float]:
    """Returns the current λ, all entries in order, `[N]`."""
    example = weights()
    return cast(list[float], Structure(example).flatten(example).detach().double().tolist())


def labels_of(weights: Weights) -> list[str]:
    """Returns a name for every entry of λ."""
    named = getattr(weights, "labels", None)
    return [str(label) for label in (range(len(flat(weights))) if named is None else named)]


def with_values(weights: Weights, value: float | Mapping[str, float] | Sequence[float]) -> list[float]:
    """Returns λ `[N]` with one `value` for all, values by label (the others unchanged), or one value each.

    With a single number, fixed entries of `weights` (the diagonal of `TransferRatios`) keep their value.

    Raises:
        ValueError: a label is unknown, or the number of values is wrong.
    """
    lambda_, labels = flat(weights), labels_of(weights)
    if isinstance(value, Mapping):
        unknown = [label for label in value if label not in labels]
        if unknown:
            raise ValueError(f"{unknown[:5]} are not labels of λ; the labels are {labels[:5]}")
        return [float(value.get(label, old)) for label, old in zip(labels, lambda_, strict=True)]
    if isinstance(value, int | float):
        held = _held(weights, len(lambda_))
        return [old if is_held else float(value) for old, is_held in zip(lambda_, held, strict=True)]
    given = [float(each) for each in value]
    if len(given) != len(lambda_):
        raise ValueError(f"there must be a value for each of the {len(lambda_)} λ {labels[:5]}; got {len(given)}")
    return given


def _held(weights: Weights, count: int) -> list[bool]:
    direct = getattr(weights, "direct", None)
    if isinstance(direct, Tensor) and getattr(weights, "diagonal", None) == "fixed":
        return cast(list[bool], direct.flatten().tolist())
    return [False] * count
