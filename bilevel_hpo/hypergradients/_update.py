"""The inner optimizer's step θ' = θ + U(g) and its transposed derivative, v ↦ (∂U/∂g)ᵀ v."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.optimizers import LINEAR, SCALARS, State, UpdateRule, rule_for
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["Update", "slopes", "updated"]

CHUNK = 1 << 17
"""Elements that one call of a rule works on: many small tensors are joined, a large one is cut, so that neither the
number of calls nor the memory of the rule's graph grows with the model."""

_Held = tuple[str, State, dict[str, Any]]
"""Name, optimizer state and group of a parameter with a gradient."""


@dataclass(frozen=True)
class Update:
    """One step θ' = θ + U(g) of the inner optimizer, from the state that it had before the step."""

    after: Params
    """θ' by name, in new tensors; no entry for a parameter without gradient."""
    slope: dict[str, Tensor | float]
    """∂U/∂g by name, element by element, or one number for all elements."""

    def pull_back(self, v: Params) -> Params:
        """u = (∂U/∂g)ᵀ v by name; entries of v without gradient are left out. Empties v, for the sake of memory."""
        return {name: v.pop(name) * self.slope[name] for name in list(v) if name in self.slope}


def updated(problem: BilevelProblem, params: Params, gradients: Params) -> Update:
    """The step that the inner optimizer takes from its present state, computed in the dtype of `params`.

    Args:
        problem: its optimizer steps; its state is only read.
        params: θ by name, read only, as is g.
        gradients: g = ∂L_train/∂θ by name; a parameter without one stays.
    """
    after = {name: torch.empty_like(params[name], memory_format=torch.contiguous_format) for name in gradients}
    slope = slopes(problem, params, gradients, after)
    return Update(after, dict(slope))


def slopes(problem: BilevelProblem, params: Params, gradients: Params, after: Params | None = None) -> Params:
    """∂U/∂g for every parameter with a gradient, from the optimizer's present state; one number where U is linear in g.

    Args:
        problem: its optimizer steps.
        params: θ, read only, as is g.
        gradients: g = ∂L_train/∂θ by name; a parameter without one stays.
        after: θ' is written into these tensors, if they are given.
    """
    rule = rule_for(problem.optimizer)
    held = list(_held(problem, gradients))
    if rule in LINEAR and after is None:
        return {name: _at_one(rule, params[name], state, group) for name, state, group in held}
    found = {name: params[name].new_empty(params[name].numel()) for name, _, _ in held}
    moved_to = {} if after is None else {name: tensor.view(-1) for name, tensor in after.items()}
    for bucket in _buckets(held, params):
        p, g, state = bucket.tensors(params, gradients)
        with torch.enable_grad():
            g = g.detach().requires_grad_()
            moved, _ = rule(p, g, state, bucket.group)
            (d,) = torch.autograd.grad(moved, g, torch.ones_like(g))
        start = 0
        for name, a, b in bucket.pieces:
            found[name][a:b] = d[start : start + b - a]
            if after is not None:
                moved_to[name][a:b] = moved.detach()[start : start + b - a]
            start += b - a
    return {name: flat.view(params[name].shape) for name, flat in found.items()}


def _at_one(rule: UpdateRule, p: Tensor, state: State, group: dict[str, Any]) -> Tensor:
    """∂U/∂g of a linear U: U(1) at θ = 0 with running averages of 0."""
    zero, one = p.new_zeros(()), p.new_ones(())
    moved, _ = rule(zero, one, dict.fromkeys(state, zero), group)
    return moved


@dataclass
class _Bucket:
    """Pieces of parameters that one call of the rule moves: same group, same scalar state, same dtype and device."""

    group: dict[str, Any]
    states: dict[str, State]
    pieces: list[tuple[str, int, int]] = field(default_factory=list)
    """(parameter, first element, one past the last)."""
    size: int = 0

    def tensors(self, params: Params, gradients: Params) -> tuple[Tensor, Tensor, State]:
        """θ, g and the state of the pieces, joined into vectors, all in the dtype of θ."""
        scalars, *_ = self.states.values()
        p = self._joined(params)
        state = {
            key: value
            if key in SCALARS
            else self._joined({name: s[key] for name, s in self.states.items()}).to(p.dtype)
            for key, value in scalars.items()
        }
        return p, self._joined(gradients).to(p.dtype), state

    def _joined(self, tensors: Params) -> Tensor:
        pieces = [tensors[name].detach().reshape(-1)[a:b] for name, a, b in self.pieces]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _held(problem: BilevelProblem, gradients: Params) -> Iterator[_Held]:
    names = problem.names()
    for group in problem.optimizer.param_groups:
        for p in group["params"]:
            name = names[id(p)]
            if name not in gradients:
                continue
            if gradients[name].is_sparse:
                raise UnsupportedError(f"parameter {name!r} has a sparse gradient; build its module with sparse=False")
            yield name, {k: v for k, v in problem.optimizer.state.get(p, {}).items() if v is not None}, group


def _buckets(held: list[_Held], params: Params) -> Iterator[_Bucket]:
    open_: dict[tuple[Any, ...], _Bucket] = {}
    for name, state, group in held:
        scalars = tuple(float(state[key]) if key in state else None for key in SCALARS)
        p = params[name]
        key = (id(group), tuple(state), scalars, p.dtype, p.device)
        for a in range(0, p.numel(), CHUNK):
            b = min(a + CHUNK, p.numel())
            bucket = open_.setdefault(key, _Bucket(group, {}))
            bucket.states[name] = state
            bucket.pieces.append((name, a, b))
            bucket.size += b - a
            if bucket.size >= CHUNK:
                yield open_.pop(key)
    yield from open_.values()
