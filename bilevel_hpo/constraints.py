"""Constraints: the set of allowed λ, and the map between λ and an unconstrained raw parameter."""

from abc import ABC, abstractmethod
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Box", "Budget", "Constraint", "Positive"]


class Constraint(nn.Module, ABC):
    """Base class of constraints: a map raw ↦ λ onto the allowed set, with its inverse.

    A subclass must define `forward` and `inverse`. The rest has defaults for sets in which each λ is independent; a
    constraint that couples the λ (for example by a common sum) sets `couples` and defines `start` and `normalise`.

    The learner computes dL_val/dλ, applies the chain rule of `forward` once, takes a step on raw and calls `project_`.
    `forward(raw)` lies in the allowed set for every raw.

    Bounds are buffers: they are in `state_dict` and follow `.to(...)`. Loading a state gives the constraint the bounds
    of that state, so that λ is restored as it was saved. An old state without bounds leaves the bounds unchanged; a
    state saved under another kind of constraint makes `load_state_dict` raise an error.
    `LossWeights` and `TransferRatios` keep a copy of the constraint they receive.
    """

    couples: bool = False
    """Whether the λ of one row (the last axis) depend on each other. `TransferRatios` then learns the direct path (the
    diagonal) with the rest of its row, and refuses diagonal="fixed" and symmetric=True.
    """

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Initialises the module even if the `__init__` of a subclass does not call `super().__init__()`."""
        made = super().__new__(cls)
        nn.Module.__init__(made)
        return made

    @abstractmethod
    def forward(self, raw: Tensor) -> Tensor:
        """Returns λ for an unconstrained `raw` of the same shape; differentiable."""

    @abstractmethod
    def inverse(self, lambda_: Tensor) -> Tensor:
        """Returns the raw values that give `lambda_`; raises ValueError if λ lies outside the allowed set."""

    def project_(self, raw: Tensor) -> None:
        """Moves `raw` in place to where `forward` has a useful gradient; does nothing for smooth maps."""

    def inside(self, lambda_: Tensor) -> Tensor:
        """Returns a mask, True for each entry of `lambda_` that is allowed regardless of the others; same shape.

        Error messages use it to name the λ at fault. By default all entries are True, which leaves the check to
        `inverse`.
        """
        return torch.ones_like(lambda_, dtype=torch.bool)

    def start(self, shape: tuple[int, ...], direct: Tensor | None = None) -> Tensor:
        """Returns λ before training if the user gives none; 1 everywhere by default.

        Args:
            shape: the shape of λ.
            direct: for transfer ratios, a mask `[targets, sources]`, True where a target is its own source.

        Raises:
            ValueError: this shape has no sensible default; the user must give `init`.
        """
        return torch.ones(shape)

    def normalise(self, lambda_: Tensor) -> Tensor:
        """Returns the allowed λ for numbers that a search chose one by one; the numbers themselves by default."""
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
    """Keeps low ≤ λ ≤ high by projection: raw is λ itself, clamped after every outer step.

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
        """Clamps `raw` into the box."""
        raw.clamp_(self.low, self.high)

    def inside(self, lambda_: Tensor) -> Tensor:
        """low ≤ λ ≤ high."""
        return (lambda_ >= self.low) & (lambda_ <= self.high)

    def start(self, shape: tuple[int, ...], direct: Tensor | None = None) -> Tensor:
        """Returns 1, or the bound closest to it."""
        return torch.ones(shape).clamp(self.low, self.high)

    def __repr__(self) -> str:
        return f"Box({self.low:g}, {self.high:g})"


class Positive(Constraint):
    """Keeps λ > 0, without an upper bound: λ = softplus(raw).

    Do not use it to let λ grow freely under a one-step hypergradient: a larger loss weight makes the next step
    longer, which need not help in the end. Use a `Budget` there.
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
    """Keeps the sum of λ along the last axis at `total`: λ[t] = total · softmax(raw[t]).

    For `TransferRatios` there is one budget per target, shared by its direct path (the diagonal) and all its
    sources: a source gains only if its gradient serves the target's validation loss better than the direct
    path does. That removes the short-horizon bias of a free λ, which grows only to make the step longer.

    Args:
        total: the sum of the weights.
        direct: the initial share of the direct path, when `TransferRatios` receives no matrix as `init`. The other
            sources start with equal shares of the rest.
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
        """Returns equal weights; for transfer ratios, `direct` for each direct path and equal shares of the rest."""
        if direct is None:
            return torch.full(shape, float(self.total) / shape[-1])
        if shape[1] < 2 or not bool(direct.any(1).all()):
            raise ValueError(f"{self!r} needs every target among at least 2 sources, or init as a matrix")
        return self.total * torch.where(direct, self.direct, (1 - self.direct) / (shape[1] - 1))

    def normalise(self, lambda_: Tensor) -> Tensor:
        """Divides each row by its sum and multiplies it by `total`."""
        return self.total * lambda_ / lambda_.sum(-1, keepdim=True)

    def __repr__(self) -> str:
        return f"Budget(total={self.total:g}, direct={self.direct:g})"


def _bound(value: float) -> Tensor:
    """A buffer of the default dtype if that represents `value` exactly, of float64 otherwise.

    float64 alone would exclude a Budget of 1 from devices without it; float32 alone would change λ in `.double()`.
    """
    exact = torch.tensor(float(value), dtype=torch.float64)
    bound = exact.to(torch.get_default_dtype())
    return bound if bool(bound == exact) else exact
