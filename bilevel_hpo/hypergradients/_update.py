"""The inner optimizer's step θ' = θ + U(g) as a function, with its element-wise slope ∂U/∂g."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.optimizers import SCALARS, State, rule_for
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["update"]

CHUNK = 1 << 17
"""Elements that one call of a rule works on: many small tensors are joined, a large one is cut, so that neither the
number of calls nor the memory of the rule's graph grows with the model."""


def update(problem: BilevelProblem, params: Params, gradients: Params) -> tuple[Params, Params]:
    """θ' for every parameter, and ∂U/∂g for those with a gradient; from the optimizer's present state.

    A parameter without gradient stays. θ and g are read only.
    """
    rule = rule_for(problem.optimizer)
    after, slope = (
        {name: torch.empty(g.numel(), dtype=params[name].dtype, device=g.device) for name, g in gradients.items()}
        for _ in range(2)
    )
    for bucket in _buckets(problem, params, gradients):
        p, g, state = bucket.tensors(params, gradients)
        with torch.enable_grad():
            moved, _ = rule(p, g.requires_grad_(), state, bucket.group)
            (d,) = torch.autograd.grad(moved, g, torch.ones_like(g))
        start = 0
        for name, a, b in bucket.pieces:
            after[name][a:b] = moved.detach()[start : start + b - a]
            slope[name][a:b] = d[start : start + b - a]
            start += b - a
    shaped = {name: flat.view(params[name].shape) for name, flat in after.items()}
    return {**params, **shaped}, {name: flat.view(params[name].shape) for name, flat in slope.items()}


@dataclass
class _Bucket:
    """Pieces of parameters that one call of the rule moves: same group, same scalar state, same dtype and device."""

    group: dict[str, Any]
    states: dict[str, State]
    pieces: list[tuple[str, int, int]] = field(default_factory=list)
    """(parameter, first element, one past the last)."""
    size: int = 0

    def tensors(self, params: Params, gradients: Params) -> tuple[Tensor, Tensor, State]:
        """θ, g and the state of the pieces, joined into vectors."""
        scalars, *_ = self.states.values()
        state = {
            key: value if key in SCALARS else self._joined({name: s[key] for name, s in self.states.items()})
            for key, value in scalars.items()
        }
        return self._joined(params), self._joined(gradients), state

    def _joined(self, tensors: Params) -> Tensor:
        pieces = [tensors[name].detach().reshape(-1)[a:b] for name, a, b in self.pieces]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _buckets(problem: BilevelProblem, params: Params, gradients: Params) -> Iterator[_Bucket]:
    names = problem.names()
    open_: dict[tuple[Any, ...], _Bucket] = {}
    for number, group in enumerate(problem.optimizer.param_groups):
        for p in group["params"]:
            name = names[id(p)]
            if name not in gradients:
                continue
            if gradients[name].is_sparse:
                raise UnsupportedError(f"parameter {name!r} has a sparse gradient; build its module with sparse=False")
            state = {k: v for k, v in problem.optimizer.state.get(p, {}).items() if v is not None}
            scalars = tuple(float(state[key]) if key in state else None for key in SCALARS)
            key = (number, tuple(state), scalars, params[name].dtype, params[name].device)
            for a in range(0, p.numel(), CHUNK):
                b = min(a + CHUNK, p.numel())
                bucket = open_.setdefault(key, _Bucket(group, {}))
                bucket.states[name] = state
                bucket.pieces.append((name, a, b))
                bucket.size += b - a
                if bucket.size >= CHUNK:
                    yield open_.pop(key)
    yield from open_.values()
