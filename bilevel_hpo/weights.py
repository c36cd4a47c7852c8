"""λ with names, as an `nn.Module`: a vector of loss weights, a matrix of transfer ratios, or a dict of both."""

import copy
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
import torch
from torch import Tensor, nn

from bilevel_hpo.constraints import Box, Constraint, Positive

__all__ = ["LossWeights", "TransferRatios", "WeightsDict"]

_NAMED = 5
"""The largest number of λ that an error message names."""


class _Constrained(nn.Module, ABC):
    """Base class: λ computed by a constraint from one raw parameter of the same shape."""

    raw: nn.Parameter
    constraint: Constraint

    def forward(self) -> Tensor:
        """Returns λ."""
        lambda_: Tensor = self.constraint(self.raw)
        return lambda_

    @torch.no_grad()
    def project_(self) -> None:
        """Move the raw parameter back into its constraint; the learner calls it after every outer step."""
        self.constraint.project_(self.raw)

    @torch.no_grad()
    def set_(self, values: Mapping[str, float] | Sequence[float] | Sequence[Sequence[float]] | Tensor) -> None:
        """Sets λ to new values by way of the raw parameter. The state of the outer optimizer (momenta) is kept.

        Args:
            values: a dict of λ by label (see `labels`), the others being kept; or all λ, shaped like `self()`.

        Raises:
            KeyError: a key is not a label of λ.
            ValueError: the constraint forbids the values, or `self()` cannot have them (another shape, not symmetric
                where λ is, not 1 on a fixed diagonal). λ then stays unchanged.
        """
        lambda_, given = self._asked(values)
        lambda_ = self._consistent(lambda_, given)
        self.raw.copy_(self._raw_of(lambda_, "λ cannot be set"))

    def _asked(self, values: object) -> tuple[Tensor, Tensor]:
        """Returns λ with `values` filled in, and a mask of the entries that `values` gives."""
        current = self().detach()
        if not isinstance(values, Mapping):
            lambda_ = torch.as_tensor(values, dtype=current.dtype, device=current.device)
            if lambda_.shape != current.shape:
                raise ValueError(f"values must have the shape of λ, {tuple(current.shape)}; got {tuple(lambda_.shape)}")
            return lambda_, torch.ones_like(lambda_, dtype=torch.bool)
        place = {label: number for number, label in enumerate(self.labels)}
        unknown = [label for label in values if label not in place]
        if unknown:
            raise KeyError(f"{unknown[:_NAMED]} are not labels of λ; the labels are {list(place)[:_NAMED]}")
        lambda_, given = current.clone(), torch.zeros_like(current, dtype=torch.bool)
        for label, value in values.items():
            lambda_.view(-1)[place[label]] = float(value)
            given.view(-1)[place[label]] = True
        return lambda_, given

    def _consistent(self, lambda_: Tensor, given: Tensor) -> Tensor:
        """Makes `lambda_` consistent by changing entries not `given`; raises ValueError if that is impossible."""
        return lambda_

    def _filled(self, lambda_: Tensor) -> Tensor:
        """Returns `lambda_` with allowed values where it is fixed and raw is never read."""
        return lambda_

    def _raw_of(self, lambda_: Tensor, what: str) -> Tensor:
        """Returns raw for `lambda_`; a ValueError begins with `what` and names the λ that the constraint forbids."""
        lambda_ = self._filled(lambda_)
        outside = ~self.constraint.inside(lambda_).reshape(-1)
        if bool(outside.any()):
            places, labels = outside.nonzero()[:_NAMED, 0].tolist(), self.labels
            named = ", ".join(f"{labels[i]} = {lambda_.reshape(-1)[i]:g}" for i in places)
            raise ValueError(f"{what}: {named} is not allowed by {self.constraint!r}")
        try:
            return self.constraint.inverse(lambda_)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error

    @property
    @abstractmethod
    def labels(self) -> list[str]:
        """The names of the entries of λ, in the order of its elements."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class LossWeights(_Constrained):
    """A vector of λ, one per name: `weights()` returns a tensor `[names]`.

    Args:
        names: a unique name for each λ, such as the loss that it weighs.
        init: the initial λ, one number for all or one per name. By default that of the constraint: 1 (or the bound
            closest to it), and equal shares under `Budget`.
        constraint: the set of allowed λ; by default `Positive()`. A copy is kept as `constraint`.
    """

    def __init__(
        self,
        names: Sequence[str],
        init: float | Sequence[float] | Tensor | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        super().__init__()
        self.names = _unique(names, "names")
        self.constraint = Positive() if constraint is None else copy.deepcopy(constraint)
        shape = (len(self.names),)
        lambda_ = self.constraint.start(shape) if init is None else _start(init, shape, f"the {shape[0]} names")
        self.raw = nn.Parameter(self._raw_of(lambda_, _given(init)))

    @property
    def labels(self) -> list[str]:
        """The names."""
        return list(self.names)

    def to_series(self) -> "pd.Series[float]":
        """λ by name."""
        return pd.Series(self().detach().cpu().numpy(), index=pd.Index(self.names, name="weight"), name="lambda")

    def extra_repr(self) -> str:
        """Size and constraint, for `repr`."""
        return f"{len(self.names)} names, {self.constraint!r}"


class TransferRatios(_Constrained):
    """A matrix of λ_{s→t}, one for every target t and source s: `ratios()` returns a tensor `[targets, sources]`.

    Where a target is its own source, the entry is the weight of its direct path: 1 and not learned by default, as in
    the paper (W = I + λ off the diagonal), or learned with the rest.

    Args:
        targets: unique names of the target tasks.
        sources: unique names of the source tasks; by default the targets.
        init: the initial λ, one number for all or a whole matrix `[targets, sources]`; a fixed diagonal is not read.
            By default that of the constraint: 1 (or the bound closest to it), and the shares of
            `Budget(direct=...)`.
        constraint: the set of allowed λ; by default `Box(0, 1)`, as in the paper. A copy is kept as `constraint`.
        symmetric: whether λ_{s→t} = λ_{t→s}, with one parameter for both.
        diagonal: "fixed" (1, not learned) or "learned". By default "learned" under `Budget` and any other constraint
            that couples the λ of a row, which include the direct path; "fixed" otherwise.
    """

    direct: Tensor

    def __init__(
        self,
        targets: Sequence[str],
        sources: Sequence[str] | None = None,
        init: float | Sequence[Sequence[float]] | Tensor | None = None,
        constraint: Constraint | None = None,
        symmetric: bool = False,
        diagonal: Literal["fixed", "learned"] | None = None,
    ) -> None:
        super().__init__()
        self.targets = _unique(targets, "targets")
        self.sources = self.targets if sources is None else _unique(sources, "sources")
        self.constraint = Box(0.0, 1.0) if constraint is None else copy.deepcopy(constraint)
        couples = self.constraint.couples
        if diagonal not in (None, "fixed", "learned"):
            raise ValueError(f"diagonal must be 'fixed' or 'learned'; got {diagonal!r}")
        self.diagonal = diagonal or ("learned" if couples else "fixed")
        self.symmetric = symmetric
        if couples and (symmetric or self.diagonal == "fixed"):
            asked = "symmetric=True" if symmetric else "diagonal='fixed'"
            raise ValueError(
                f"{asked} does not go with {self.constraint!r}, which ties the λ of a row together: use a Box"
            )
        if symmetric and self.targets != self.sources:
            raise ValueError("symmetric=True needs the same targets and sources, in the same order")
        direct = torch.tensor([[t == s for s in self.sources] for t in self.targets])
        self.register_buffer("direct", direct, persistent=False)
        self.raw = nn.Parameter(self._raw_of(self._initial(init), _given(init)))

    def _initial(self, init: float | Sequence[Sequence[float]] | Tensor | None) -> Tensor:
        shape = (len(self.targets), len(self.sources))
        if init is None:
            return self.constraint.start(shape, self.direct)
        start = _start(init, shape, f"the {shape[0]} targets × {shape[1]} sources")
        if self.symmetric and not torch.equal(start, start.T):
            raise ValueError("symmetric=True, but the matrix given as init is not symmetric")
        return start

    def _filled(self, lambda_: Tensor) -> Tensor:
        """Fills the diagonal with a value from off the diagonal, which is allowed if λ is."""
        if self.diagonal == "learned" or bool(self.direct.all()):
            return lambda_
        return torch.where(self.direct, lambda_[~self.direct][0], lambda_)

    def _consistent(self, lambda_: Tensor, given: Tensor) -> Tensor:
        """Makes λ symmetric if it must be, and checks that a fixed diagonal is 1."""
        if self.symmetric:
            lambda_ = torch.where(given.T & ~given, lambda_.T, lambda_)
            if not torch.equal(lambda_, lambda_.T):
                raise ValueError("λ cannot be set: it is symmetric, and the values are not")
        changed = self.direct & (lambda_ != 1.0)
        if self.diagonal == "fixed" and bool(changed.any()):
            label = self.labels[int(changed.reshape(-1).nonzero()[0, 0])]
            raise ValueError(f"λ cannot be set: {label} is 1 and not learned (diagonal='fixed')")
        return lambda_

    def forward(self) -> Tensor:
        """Returns λ `[targets, sources]`; row t, column s is λ_{s→t}."""
        lambda_ = super().forward()
        if self.symmetric:
            lambda_ = lambda_.triu() + lambda_.triu(1).T
        return torch.where(self.direct, 1.0, lambda_) if self.diagonal == "fixed" else lambda_

    @property
    def labels(self) -> list[str]:
        """The name `source->target` of every entry, row by row."""
        return [f"{s}->{t}" for t in self.targets for s in self.sources]

    def to_frame(self) -> pd.DataFrame:
        """Returns λ as a table with targets as index and sources as columns."""
        return pd.DataFrame(
            self().detach().cpu().numpy(),
            index=pd.Index(self.targets, name="target"),
            columns=pd.Index(self.sources, name="source"),
        )

    def extra_repr(self) -> str:
        """Size and constraint, for `repr`."""
        size = f"{len(self.targets)} targets × {len(self.sources)} sources"
        return f"{size}, {self.constraint!r}, diagonal={self.diagonal}" + (", symmetric" if self.symmetric else "")


class WeightsDict(nn.ModuleDict):
    """A dict of λ modules of any shapes: `weights()` returns a dict of tensors, one per name.

    Args:
        weights: for each name a `LossWeights`, `TransferRatios`, or any module whose call returns a tensor. Each
            keeps its constraint.
    """

    def __init__(self, weights: Mapping[str, nn.Module]) -> None:
        if not weights:
            raise ValueError("weights must not be empty")
        super().__init__(weights)

    def forward(self) -> dict[str, Tensor]:
        """λ by name."""
        return {name: module() for name, module in self.items()}

    def project_(self) -> None:
        """Moves every raw parameter back into its constraint, if it has one."""
        for module in self.values():
            if hasattr(module, "project_"):
                module.project_()  # type: ignore[operator]

    @property
    def labels(self) -> list[str]:
        """The name `name.label` of every entry, in the order of names; `name.number` for a module without labels."""
        return [f"{name}.{label}" for name, module in self.items() for label in _labels(module)]


def _labels(module: nn.Module) -> Sequence[object]:
    labels = getattr(module, "labels", None)
    return range(module().numel()) if labels is None else labels


def _unique(names: Sequence[str], argument: str) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"{argument} must be a sequence of names, e.g. [{names!r}]; got one string, {names!r}")
    unique = tuple(names)
    twice = sorted(name for name, times in Counter(unique).items() if times > 1)
    if not unique or twice:
        raise ValueError(f"{argument} must be unique and not empty; " + (f"twice: {twice}" if twice else "got none"))
    return unique


def _start(init: object, shape: tuple[int, ...], wanted: str) -> Tensor:
    start = torch.as_tensor(init, dtype=torch.get_default_dtype()).detach().clone()
    if start.ndim == 0:
        start = start.expand(shape).clone()
    if start.shape != shape:
        raise ValueError(f"init must have shape {shape}, for {wanted}; got {tuple(start.shape)}")
    return start


def _given(init: object) -> str:
    """Returns the beginning of an error message."""
    if init is None:
        return "the constraint's own start"
    return f"init={init}" if isinstance(init, float | int) else "init"
