"""Named λ as an `nn.Module`: a vector of loss weights, a matrix of transfer ratios, or several of them by name."""

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
"""λ that an error message names, at most."""


class _Constrained(nn.Module, ABC):
    """λ that a constraint makes of one raw parameter of the same shape."""

    raw: nn.Parameter
    constraint: Constraint

    def forward(self) -> Tensor:
        """λ."""
        lambda_: Tensor = self.constraint(self.raw)
        return lambda_

    @torch.no_grad()
    def project_(self) -> None:
        """Move the raw parameter back into its constraint; the learner calls it after every outer step."""
        self.constraint.project_(self.raw)

    @torch.no_grad()
    def set_(self, values: Mapping[str, float] | Sequence[float] | Sequence[Sequence[float]] | Tensor) -> None:
        """Give λ other values, by way of the raw parameter. What the outer optimizer has noted (momenta) stays.

        Args:
            values: λ by label (see `labels`), and the others keep theirs; or all λ, shaped like `self()`.

        Raises:
            KeyError: a label that is none.
            ValueError: values that the constraint forbids or that `self()` cannot have (another shape, not symmetric
                where λ is, not 1 on a fixed diagonal). λ then stays as it was.
        """
        lambda_, given = self._asked(values)
        lambda_ = self._consistent(lambda_, given)
        self.raw.copy_(self._raw_of(lambda_, "λ cannot be set"))

    def _asked(self, values: object) -> tuple[Tensor, Tensor]:
        """λ with `values` in it, and True where `values` gives one."""
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
        """`lambda_` as `self()` can be, entries not `given` following those that are; ValueError where none can."""
        return lambda_

    def _filled(self, lambda_: Tensor) -> Tensor:
        """`lambda_` with something allowed where it is fixed and raw is never read."""
        return lambda_

    def _raw_of(self, lambda_: Tensor, what: str) -> Tensor:
        """Raw for `lambda_`; a ValueError begins with `what` and names the λ that the constraint forbids."""
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
        """A name for every entry of λ, in the order of its elements."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class LossWeights(_Constrained):
    """One λ per name: `weights()` is a tensor `[names]`.

    Args:
        names: what each λ weighs; unique.
        init: the start, one number for all or one per name. Left out, it is the constraint's own: 1 (or the bound
            next to it), and equal shares under `Budget`.
        constraint: where λ may live; `Positive()` when left out. A copy is kept, as `constraint`.
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
    """λ_{s→t} for every pair of target t and source s: `ratios()` is a tensor `[targets, sources]`.

    Where a target is its own source stands the weight of its direct path: 1 and not learned by default, as in
    the paper (W = I + λ off the diagonal), or learned with the rest.

    Args:
        targets: names of the target tasks; unique.
        sources: names of the source tasks; the targets when left out.
        init: the start, one number for all or a whole matrix `[targets, sources]`; what stands on a fixed diagonal is
            not read. Left out, it is the constraint's own: 1 (or the bound next to it), and the shares of
            `Budget(direct=...)`.
        constraint: where λ may live; `Box(0, 1)` when left out, as in the paper. A copy is kept, as `constraint`.
        symmetric: λ_{s→t} = λ_{t→s}, one parameter for both.
        diagonal: "fixed" (1, not learned) or "learned". Left out: "learned" under `Budget` and every other constraint
            that couples the λ of a row, as the direct path is among those it divides; "fixed" otherwise.
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
        """With a value from off the diagonal, which is allowed if λ is."""
        if self.diagonal == "learned" or bool(self.direct.all()):
            return lambda_
        return torch.where(self.direct, lambda_[~self.direct][0], lambda_)

    def _consistent(self, lambda_: Tensor, given: Tensor) -> Tensor:
        """Symmetric where λ is, 1 on a fixed diagonal."""
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
        """λ `[targets, sources]`; row t, column s is λ_{s→t}."""
        lambda_ = super().forward()
        if self.symmetric:
            lambda_ = lambda_.triu() + lambda_.triu(1).T
        return torch.where(self.direct, 1.0, lambda_) if self.diagonal == "fixed" else lambda_

    @property
    def labels(self) -> list[str]:
        """`source->target` for every entry, row by row."""
        return [f"{s}->{t}" for t in self.targets for s in self.sources]

    def to_frame(self) -> pd.DataFrame:
        """λ as a table: index = targets, columns = sources."""
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
    """Several λ of any shapes at once: `weights()` is a dict of tensors, one per name.

    Args:
        weights: name -> `LossWeights`, `TransferRatios`, or any other module whose call gives a tensor. Each keeps its
            constraint.
    """

    def __init__(self, weights: Mapping[str, nn.Module]) -> None:
        if not weights:
            raise ValueError("weights must not be empty")
        super().__init__(weights)

    def forward(self) -> dict[str, Tensor]:
        """λ by name."""
        return {name: module() for name, module in self.items()}

    def project_(self) -> None:
        """Move every raw parameter back into its constraint, if it has one."""
        for module in self.values():
            if hasattr(module, "project_"):
                module.project_()  # type: ignore[operator]

    @property
    def labels(self) -> list[str]:
        """`name.label` for every entry, in the order of the names; of a module without labels, `name.number`."""
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
    """How an error message begins."""
    if init is None:
        return "the constraint's own start"
    return f"init={init}" if isinstance(init, float | int) else "init"
