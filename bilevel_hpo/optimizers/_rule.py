"""An update rule: the step of an optimizer as a pure function of one parameter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Group", "Rule", "SlopeFunction", "State", "UpdateFunction"]

State = dict[str, Any]
"""`optimizer.state[p]` of one parameter, without the entries that are None; empty before the first step."""

Group = dict[str, Any]
"""The entry of `optimizer.param_groups` that holds the parameter: lr, weight_decay, …"""

UpdateFunction = Callable[[Tensor, Tensor, State, Group], tuple[Tensor, State]]
"""(θ, g, state, group) ↦ (θ', state'), without a change to its arguments."""

SlopeFunction = Callable[[Tensor, Tensor, State, Group], tuple[Tensor, Tensor]]
"""(θ, g, state, group) ↦ (θ', ∂θ'/∂g), element by element, without a change to its arguments."""


@dataclass(frozen=True)
class Rule:
    """The rule by which an optimizer updates one parameter."""

    update: UpdateFunction
    elementwise: bool = True
    """Whether each element of θ' and of the state depends only on the same element of θ, g and the state."""
    scalars: tuple[str, ...] = ("step",)
    """Entries of the state that are one number per parameter; all others have the parameter's shape, if `elementwise`.
    """
    linear: bool = False
    """Whether ∂θ'/∂g is the same number for all elements, for any θ and g."""
    slope: SlopeFunction | None = None
    """The step and ∂θ'/∂g in closed form, if known: faster than automatic differentiation, and without its
    cancellation."""
