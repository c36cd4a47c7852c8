"""Raw parameter <-> λ: where λ may live, and how it is parametrised there."""

from abc import ABC, abstractmethod
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Box", "Budget", "Constraint", "Positive"]


class Constraint(nn.Module, ABC):
    """A map raw ↦ λ onto the allowed set, with its inverse; the base of every constraint, here and elsewhere.

    `forward` and `inverse` are enough. The rest has defaults, for a set in which every λ moves by itself; a constraint
    that ties λ to each other (they share a sum) sets `couples`, and has a `start` and a `normalise` of its own.

    The learner computes dL_val/dλ, applies the chain rule of `forward` once, steps on raw and then calls `project_`;
    whatever raw is, `forward(raw)` lies in the allowed set.

    Bounds are buffers: they are in `state_dict` and follow `.to(...)`. Loading a state gives the constraint the bounds
    of that state, so that λ comes back as it was saved. A state without any, from before they were part of it, leaves
    the bounds as they are; a state saved under another kind of constraint is an error of `load_state_dict`.
    `LossWeights` and `TransferRatios` keep a copy of the constraint that they are given.
    """

    couples: bool = False
    """The λ of one row (the last axis) depend on each other. `TransferRatios` then learns the direct path (the
    diagonal) with the rest of its row, and refuses diagonal="fixed" and symmetric=True.
    """

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """A module from its first moment on, also where the `__init__` of a subclass calls no other."""
        made = super().__new__(cls)
        nn.Module.__init__(made)
        return made

    @abstractmethod
    def forward(self, raw: Tensor) -> Tensor:
        """λ for an unconstrained `raw` of the same shape; differentiable."""

    @abstractmethod
    def inverse(self, lambda_: Tensor) -> Tensor:
        """The raw values that give `lambda_`; ValueError where λ lies outside the allowed set."""

    def project_(self, raw: Tensor) -> None:
        """Move `raw` in place back to where `forward` has a useful gradient; nothing to do for smooth maps."""

    def inside(self, lambda_: Tensor) -> Tensor:
        """True for every entry of `lambda_` that is allowed by itself, whatever the others are; same shape.

        Error messages use it to name the λ at fault. By default all entries are, which leaves the check to `inverse`.
        """
        return torch.ones_like(lambda_, dtype=torch.bool)

    def start(self, shape: tuple[int, ...], direct: Tensor | None = None) -> Tensor:
        """λ before training, where the user gives none; 1 everywhere by default.

        Args:
            shape: of λ.
            direct: for transfer ratios, True where a target is its own source, `[targets, sources]`.

        Raises:
            ValueError: no λ of this shape is a sensible start; the user must give one.
        """
        return torch.ones(shape)

    def normalise(self, lambda_: Tensor) -> Tensor:
        """The allowed λ that numbers chosen one by one stand for, as a search chooses them; themselves by default."""
        return lambda_

    def _refuse_outside(self, lambda_: Tensor) -> None:
        inside = self.inside(lambda_)
        if not bool(inside.all()):
            raise ValueError(f"λ = {lambda_[~inside].flatten()[:5].tolist()} is not allowed by {self!r}")

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if "version" not in local_metadata:  # the state of a time when constraints were no modules
            bounds = {prefix + name for name in self._buffers}
            missing_keys[:] = [key for key in missing_keys if key not in bounds]


class Box(Constraint):
    """low ≤ λ ≤ high by projection: raw is λ itself, clamped after every outer step.

    This is the paper's setting (λ ← λ − Adam(g) until a bound is reached), and the bounds can be reached
    exactly: λ = 0 really switches a loss off.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        if not low < high:
            raise ValueError(f"Box needs low < high; got low={low}, high={high}")
        self.register_buffer("low", _bound(low))
        self.register_buffer("high", _bound(high))

    def forward(self, raw: Tensor) -> Tensor:
        """λ = clamp(raw, low, high)."""
        return raw.clamp(self.low, self.high)

    def inverse(self, lambda_: Tensor) -> Tensor:
        """Raw = λ."""
        self._refuse_outside(lambda_)
        return lambda_.clone()

    def project_(self, raw: Tensor) -> None:
        """Clamp `raw` into the box."""
        raw.clamp_(self.low, self.high)

    def inside(self, lambda_: Tensor) -> Tensor:
        """low ≤ λ ≤ high."""
        return (lambda_ >= self.low) & (lambda_ <= self.high)

    def start(self, shape: tuple[int, ...], direct: Tensor | None = None) -> Tensor:
        """1, or the bound next to it."""
        return torch.ones(shape).clamp(self.low, self.high)

    def __repr__(self) -> str:
        return f"Box({self.low:g}, {self.high:g})"


class Positive(Constraint):
    """λ > 0 without an upper bound: λ = softplus(raw).

    Do not use it to let λ grow freely under a one-step hypergradient: more loss weight lets the next step go
    further, which is not the same as helping in the end. Use a `Budget` there.
    """

    def forward(self, raw: Tensor) -> Tensor:
        """λ = log(1 + exp(raw))."""
        return functional.softplus(raw)

    def inverse(self, lambda_: Tensor) -> Tensor:
        """Raw = λ + log(1 − exp(−λ)), stable for small and large λ."""
        self._refuse_outside(lambda_)
        return lambda_ + torch.log(-torch.expm1(-lambda_))

    def inside(self, lambda_: Tensor) -> Tensor:
        """0 < λ < ∞."""
        return (lambda_ > 0) & lambda_.isfinite()

    def __repr__(self) -> str:
        return "Positive()"


class Budget(Constraint):
    """The weights along the last axis sum to `total`: λ[t] = total · softmax(raw[t]).

    For `TransferRatios` that is one budget per target, shared by its direct path (the diagonal) and all its
    sources: a source gains only if its gradient serves the target's validation loss better than the direct
    path's does. That removes the short-horizon bias of a free λ, which grows merely to take a longer step.

    Args:
        total: the sum of the weights.
        direct: share of the direct path at the start, when `TransferRatios` is not given a matrix. The other
            sources begin with equal shares of the rest.
    """

    couples = True
    total: Tensor

    def __init__(self, total: float = 1.0, direct: float = 0.8) -> None:
        super().__init__()
        if not total > 0:
            raise ValueError(f"Budget needs total > 0; got {total}")
        if not 0 < direct < 1:
            raise ValueError(f"Budget needs 0 < direct < 1; got {direct}")
        self.register_buffer("total", _bound(total))
        self.direct = float(direct)

    def forward(self, raw: Tensor) -> Tensor:
        """λ = total · softmax(raw) over the last axis."""
        return self.total * raw.softmax(-1)

    def inverse(self, lambda_: Tensor) -> Tensor:
        """Raw = log(λ / total); every λ must be positive and every row must sum to `total`."""
        self._refuse_outside(lambda_)
        sums = lambda_.sum(-1)
        if not torch.allclose(sums, self.total.to(sums).expand_as(sums), rtol=1e-4):
            raise ValueError(f"under {self!r} the weights must sum to {self.total:g}; the sums are {sums.tolist()}")
        return torch.log(lambda_ / self.total)

    def inside(self, lambda_: Tensor) -> Tensor:
        """λ > 0."""
        return lambda_ > 0

    def start(self, shape: tuple[int, ...], direct: Tensor | None = None) -> Tensor:
        """Equal weights; for transfer ratios `direct` to each direct path, and equal shares of the rest."""
        if direct is None:
            return torch.full(shape, float(self.total) / shape[-1])
        if shape[1] < 2 or not bool(direct.any(1).all()):
            raise ValueError(f"{self!r} needs every target among at least 2 sources, or init as a matrix")
        return self.total * torch.where(direct, self.direct, (1 - self.direct) / (shape[1] - 1))

    def normalise(self, lambda_: Tensor) -> Tensor:
        """Each row divided by its sum and multiplied by `total`."""
        return self.total * lambda_ / lambda_.sum(-1, keepdim=True)

    def __repr__(self) -> str:
        return f"Budget(total={self.total:g}, direct={self.direct:g})"


def _bound(value: float) -> Tensor:
    """In the default dtype where that holds `value` to the last digit, in float64 elsewhere.

    float64 alone would keep a Budget of 1 off devices that have none; float32 alone would move λ in `.double()`.
    """
    exact = torch.tensor(float(value), dtype=torch.float64)
    bound = exact.to(torch.get_default_dtype())
    return bound if bool(bound == exact) else exact
