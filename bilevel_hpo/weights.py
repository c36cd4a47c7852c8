"""Named λ as an `nn.Module`: a vector of loss weights, a matrix of transfer ratios, or several of them by name."""

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
import torch
from torch import Tensor, nn

from bilevel_hpo.constraints import Box, Budget, Constraint, Positive

__all__ = ["LossWeights", "TransferRatios", "WeightsDict"]


class LossWeights(nn.Module):
    """One λ per name: `weights()` is a tensor `[names]`.

    Args:
        names: what each λ weighs; unique.
        init: the start, one number for all or one per name. Under `Budget` all start equal unless a value per
            name is given.
        constraint: where λ may live.
    """

    raw: nn.Parameter

    def __init__(
        self,
        names: Sequence[str],
        init: float | Sequence[float] | Tensor = 1.0,
        constraint: Constraint | None = None,
    ) -> None:
        super().__init__()
        self.names = _unique(names, "names")
        self.constraint = Positive() if constraint is None else constraint
        n = len(self.names)
        if isinstance(self.constraint, Budget) and isinstance(init, float | int):
            if init != 1.0:
                raise ValueError(f"init={init}: {self.constraint!r} sets the sum; give one value per name instead")
            lambda_ = torch.full((n,), self.constraint.total / n)
        else:
            lambda_ = _start(init, (n,), f"the {n} names")
        self.raw = nn.Parameter(self.constraint.inverse(lambda_))

    def forward(self) -> Tensor:
        """λ `[names]`."""
        return self.constraint.forward(self.raw)

    @torch.no_grad()
    def project_(self) -> None:
        """Move the raw parameter back into its constraint; the learner calls it after every outer step."""
        self.constraint.project_(self.raw)

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


class TransferRatios(nn.Module):
    """λ_{s→t} for every pair of target t and source s: `ratios()` is a tensor `[targets, sources]`.

    Where a target is its own source stands the weight of its direct path: 1 and not learned by default, as in
    the paper (W = I + λ off the diagonal), or learned with the rest.

    Args:
        targets: names of the target tasks; unique.
        sources: names of the source tasks; the targets when left out.
        init: the start off the diagonal, or a whole matrix `[targets, sources]`. Under `Budget` the start is
            `Budget(direct=...)` unless a matrix is given.
        constraint: where λ may live; `Box(0, 1)` when left out, as in the paper.
        symmetric: λ_{s→t} = λ_{t→s}, one parameter for both.
        diagonal: "fixed" (1, not learned) or "learned". Left out: "learned" under `Budget`, which needs the
            direct path among the weights it divides, and "fixed" under every other constraint.
    """

    raw: nn.Parameter
    direct: Tensor

    def __init__(
        self,
        targets: Sequence[str],
        sources: Sequence[str] | None = None,
        init: float | Sequence[Sequence[float]] | Tensor = 1.0,
        constraint: Constraint | None = None,
        symmetric: bool = False,
        diagonal: Literal["fixed", "learned"] | None = None,
    ) -> None:
        super().__init__()
        self.targets = _unique(targets, "targets")
        self.sources = self.targets if sources is None else _unique(sources, "sources")
        self.constraint = Box(0.0, 1.0) if constraint is None else constraint
        budget = isinstance(self.constraint, Budget)
        if diagonal not in (None, "fixed", "learned"):
            raise ValueError(f"diagonal={diagonal!r}: 'fixed' or 'learned' is wanted")
        self.diagonal = diagonal or ("learned" if budget else "fixed")
        self.symmetric = symmetric
        if budget and (symmetric or self.diagonal == "fixed"):
            asked = "symmetric=True" if symmetric else "diagonal='fixed'"
            raise ValueError(f"{asked} does not go with {self.constraint!r}, which divides each row's sum: use a Box")
        if symmetric and self.targets != self.sources:
            raise ValueError("symmetric=True needs the same targets and sources, in the same order")
        direct = torch.tensor([[t == s for s in self.sources] for t in self.targets])
        self.register_buffer("direct", direct, persistent=False)
        self.raw = nn.Parameter(self.constraint.inverse(self._initial(init)))

    def _initial(self, init: float | Sequence[Sequence[float]] | Tensor) -> Tensor:
        shape = (len(self.targets), len(self.sources))
        if not isinstance(init, float | int):
            start = _start(init, shape, f"the {shape[0]} targets × {shape[1]} sources")
            if self.symmetric and not torch.equal(start, start.T):
                raise ValueError("symmetric=True, but the matrix given as init is not symmetric")
            if self.diagonal == "fixed":  # not learned: whatever stands there is never read
                start = torch.where(self.direct, self._allowed_filler(start), start)
            return start
        if not isinstance(self.constraint, Budget):
            return torch.full(shape, float(init))
        if init != 1.0:
            raise ValueError(f"init={init}: {self.constraint!r} sets the start; use Budget(direct=...) or a matrix")
        if shape[1] < 2 or not bool(self.direct.any(1).all()):
            raise ValueError(f"{self.constraint!r} needs every target among at least 2 sources, or init as a matrix")
        rest = (1 - self.constraint.direct) / (shape[1] - 1)
        return self.constraint.total * torch.where(self.direct, self.constraint.direct, rest)

    def _allowed_filler(self, start: Tensor) -> Tensor:
        """A value of `start` off the diagonal, allowed by the constraint, to fill unread diagonal cells."""
        return start[~self.direct].flatten()[:1].expand_as(start) if bool((~self.direct).any()) else start

    def forward(self) -> Tensor:
        """λ `[targets, sources]`; row t, column s is λ_{s→t}."""
        lambda_ = self.constraint.forward(self.raw)
        if self.symmetric:
            lambda_ = lambda_.triu() + lambda_.triu(1).T
        return torch.where(self.direct, 1.0, lambda_) if self.diagonal == "fixed" else lambda_

    @torch.no_grad()
    def project_(self) -> None:
        """Move the raw parameter back into its constraint; the learner calls it after every outer step."""
        self.constraint.project_(self.raw)

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
        weights: name -> `LossWeights`, `TransferRatios`, or another module of their kind. Each keeps its constraint.
    """

    def __init__(self, weights: Mapping[str, "LossWeights | TransferRatios"]) -> None:
        if not weights:
            raise ValueError("weights must not be empty")
        super().__init__(weights)

    def forward(self) -> dict[str, Tensor]:
        """λ by name."""
        return {name: module() for name, module in self._named()}

    def _named(self) -> list[tuple[str, "LossWeights | TransferRatios"]]:
        return list(self.items())  # type: ignore[arg-type]

    def project_(self) -> None:
        """Move every raw parameter back into its constraint."""
        for _, module in self._named():
            module.project_()

    @property
    def labels(self) -> list[str]:
        """`name.label` for every entry, in the order of the names."""
        return [f"{name}.{label}" for name, module in self._named() for label in module.labels]


def _unique(names: Sequence[str], argument: str) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"{argument}={names!r} is one string; a sequence of names is wanted, e.g. [{names!r}]")
    unique = tuple(names)
    twice = sorted({name for name in unique if unique.count(name) > 1})
    if not unique or twice:
        raise ValueError(f"{argument} must be unique and not empty; " + (f"twice: {twice}" if twice else "none came"))
    return unique


def _start(init: object, shape: tuple[int, ...], wanted: str) -> Tensor:
    start = torch.as_tensor(init, dtype=torch.get_default_dtype()).detach().clone()
    if start.ndim == 0:
        start = start.expand(shape).clone()
    if start.shape != shape:
        raise ValueError(f"init has shape {tuple(start.shape)}; {wanted} want {shape}")
    return start
