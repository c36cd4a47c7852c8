"""A search space made from the λ object of a learner, and the map from its points back to λ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from optuna.distributions import FloatDistribution
from torch import Tensor

from bilevel_hpo.weights import LossWeights, TransferRatios

__all__ = ["Axis", "Space", "as_space", "space"]


@dataclass(frozen=True)
class Axis:
    """The range of one parameter."""

    low: float
    high: float
    log: bool = False
    values: tuple[float, ...] = ()
    """The values of a grid, in the order of evaluation."""

    @property
    def distribution(self) -> FloatDistribution:
        """Returns Optuna's distribution of the axis."""
        return FloatDistribution(self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Space:
    """The axes by name and, if the space was made from a λ object, the entries of λ that each axis sets.

    Several entries on one axis share one value.
    """

    axes: Mapping[str, Axis]
    weights: LossWeights | TransferRatios | None = None
    index: Tensor | None = None
    """The axis of each entry of λ, shaped like `weights()`; −1 where λ is fixed."""

    @property
    def distributions(self) -> dict[str, FloatDistribution]:
        """Returns Optuna's distributions of the axes."""
        return {name: axis.distribution for name, axis in self.axes.items()}

    def tensor(self, params: Mapping[str, float]) -> Tensor:
        """Returns λ shaped like `weights()`; entries that are not searched keep their value.

        Under a `Budget` the parameters are shares: each row is divided by its sum and multiplied by the total
        (`Constraint.normalise`).

        Raises:
            ValueError: a name is missing, or the shares of a row are all 0.
        """
        missing = [name for name in self.axes if name not in params]
        if missing:
            raise ValueError(f"params lack {missing[:5]}; they have {list(params)[:5]}")
        weights, _ = self._entries()
        lambda_ = self._lambda(params, weights().detach())
        if not bool(lambda_.isfinite().all()):
            raise ValueError(f"no λ of {weights.constraint!r} has the shares {dict(params)}: those of a row are all 0")
        return lambda_

    def points(self) -> list[dict[str, float]]:
        """Returns the points of a grid; the last axis changes fastest.

        If a constraint couples the λ, points that give the same λ are merged: of a `Budget` over three λ
        with the shares 0, ½ and 1, 19 of 27 remain. A point whose shares are all 0 is left out.

        Raises:
            ValueError: an axis has no values.
        """
        without = [name for name, axis in self.axes.items() if not axis.values]
        if without:
            raise ValueError(f"a grid needs values: search.space(weights, values=[...]); {without[:5]} have none")
        combinations = product(*(axis.values for axis in self.axes.values()))
        points = [dict(zip(self.axes, values, strict=True)) for values in combinations]
        if self.weights is None or not self.weights.constraint.couples:
            return points
        current = self.weights().detach().double()
        distinct: dict[tuple[str, ...], dict[str, float]] = {}
        for point in points:
            lambda_ = self._lambda(point, current)
            if bool(lambda_.isfinite().all()):
                # Twelve digits: shares such as 0.1 and 0.3 are rounded, and so are their ratios.
                distinct.setdefault(tuple(f"{value:.12g}" for value in lambda_.flatten().tolist()), point)
        return list(distinct.values())

    def set_(self, params: Mapping[str, float]) -> None:
        """Sets the λ object to the values of `params`."""
        weights, _ = self._entries()
        weights.set_(self.tensor(params))

    def params(self) -> dict[str, float]:
        """Returns the current values of the λ object by axis (the mean of tied entries), as `record` takes them."""
        weights, index = self._entries()
        lambda_ = weights().detach().double()
        return {name: float(lambda_[index == number].mean()) for number, name in enumerate(self.axes)}

    def _lambda(self, params: Mapping[str, float], current: Tensor) -> Tensor:
        weights, index = self._entries()
        values = torch.tensor([float(params[name]) for name in self.axes], dtype=current.dtype, device=current.device)
        return weights.constraint.normalise(torch.where(index < 0, current, values[index.clamp(min=0)]))

    def _entries(self) -> tuple[LossWeights | TransferRatios, Tensor]:
        if self.weights is None or self.index is None:
            raise ValueError("this space was made from names alone; make it from the λ object: search.space(weights)")
        return self.weights, self.index


def space(
    weights: LossWeights | TransferRatios,
    low: float = 0.0,
    high: float = 1.0,
    *,
    values: Sequence[float] = (),
    log: bool = False,
    symmetric: bool = False,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Space:
    """Makes a search space with one axis for every λ of `weights` that can be learned.

    Axes have the names of the weights; for transfer ratios `source->target`, or `a|b` if λ is symmetric. If one group
    holds all tasks, its only axis has the name of the group.

    Args:
        weights: the λ object; entries that are not searched (a fixed diagonal) keep their current values.
        low: the smallest λ.
        high: the largest λ.
        values: the values of a grid, instead of `low` and `high`.
        log: whether to search on a logarithmic scale; `low` must be positive.
        symmetric: whether λ_{s→t} = λ_{t→s}, with one axis for both, even if `weights` itself would learn two.
        groups: for each group its name and its tasks (or names of loss weights), which share one value as target and
            as source; a task in no group has its own value. `groups={"all": tasks}` searches one λ for all.

    Raises:
        TypeError: `weights` has another type, whose λ have no names here.
        ValueError: the constraint of `weights` forbids a value, or a group has unknown or repeated names.
    """
    if not isinstance(weights, LossWeights | TransferRatios):
        raise TypeError(
            f"space(weights) needs LossWeights or TransferRatios; got {type(weights).__name__}. Name the axes instead "
            "({'name': (low, high), …}), and give the values to your module in the objective"
        )
    axis = _axis("space", values or (low, high), log=log, grid=bool(values))
    of = _group_of(weights, groups or {})
    if isinstance(weights, LossWeights):
        labels: list[str | None] = [of[name] for name in weights.names]
        shape: tuple[int, ...] = (len(weights.names),)
    else:
        both = symmetric or weights.symmetric
        if both and weights.targets != weights.sources:
            raise ValueError("symmetric=True needs the same targets and sources, in the same order")
        labels = [_pair(weights, t, s, of, both) for t in weights.targets for s in weights.sources]
        shape = (len(weights.targets), len(weights.sources))
    names = list(dict.fromkeys(label for label in labels if label is not None))
    if not names:
        raise ValueError(f"{weights!r} has no λ to search")
    number = {name: position for position, name in enumerate(names)}
    index = torch.tensor([-1 if label is None else number[label] for label in labels]).reshape(shape)
    made = Space(dict.fromkeys(names, axis), weights, index.to(weights.raw.device))
    if weights.constraint.couples:  # values are shares, of which any but negative ones are allowed
        if axis.low < 0 or axis.high <= 0:
            wrong = f"space = {axis.values or (axis.low, axis.high)}"
            raise ValueError(f"{wrong}: shares of {weights.constraint!r} must be non-negative and not all 0")
        return made
    for value in axis.values or (axis.low, axis.high):
        weights.constraint.inverse(_filled(weights, made.tensor(dict.fromkeys(names, value))))
    return made


def as_space(given: "Space | Mapping[str, Sequence[float]]", *, grid: bool) -> Space:
    """Returns `given` if it is a space, otherwise a space of plain axes: the values of a grid, or (low, high)."""
    if isinstance(given, Space):
        return given
    if not given:
        raise ValueError("space must be a mapping from each λ's name to its values; it is empty")
    return Space({name: _axis(f"space[{name!r}]", values, log=False, grid=grid) for name, values in given.items()})


def _axis(argument: str, values: Sequence[float], *, log: bool, grid: bool) -> Axis:
    values = tuple(float(value) for value in values)
    if grid and (not values or len(set(values)) != len(values)):
        raise ValueError(f"{argument} must have at least one value, each once; got {values}")
    if not grid and (len(values) != 2 or not values[0] < values[1]):
        raise ValueError(f"{argument} must be (low, high) with low < high; got {values}")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"{argument} must be finite numbers; got {values}")
    if log and min(values) <= 0:
        raise ValueError(f"{argument} must be positive numbers with log=True; got {values}")
    return Axis(min(values), max(values), log, values if grid else ())


def _group_of(weights: LossWeights | TransferRatios, groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    names = weights.names if isinstance(weights, LossWeights) else dict.fromkeys((*weights.targets, *weights.sources))
    of: dict[str, str] = {}
    for group, members in groups.items():
        for member in members:
            if member not in names or member in of:
                wrong = "is in two groups" if member in of else f"is none of {list(names)}"
                raise ValueError(f"groups[{group!r}]: {member!r} {wrong}")
            of[member] = group
    return {name: of.get(name, name) for name in names}


def _pair(weights: TransferRatios, target: str, source: str, of: Mapping[str, str], both: bool) -> str | None:
    if target == source and weights.diagonal == "fixed":
        return None
    if target == source:  # the direct paths of a group are tied to each other, not to its mapped paths
        return f"{of[source]}={of[target]}"
    if set(of.values()) == {of[source]}:
        return of[source]
    if not both:
        return f"{of[source]}->{of[target]}"
    order = list(dict.fromkeys(of[name] for name in weights.targets))
    first, second = sorted((of[source], of[target]), key=order.index)
    return f"{first}|{second}"


def _filled(weights: LossWeights | TransferRatios, lambda_: Tensor) -> Tensor:
    """Returns λ with allowed values where it is fixed and never read, so that the constraint can be inverted."""
    if isinstance(weights, LossWeights) or weights.diagonal == "learned" or bool(weights.direct.all()):
        return lambda_
    return torch.where(weights.direct, lambda_[~weights.direct].flatten()[0], lambda_)
