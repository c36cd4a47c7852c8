"""The inner optimizer's step θ' = θ + U(g) and its transposed derivative, v ↦ (∂U/∂g)ᵀ v."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.optimizers import Group, Rule, State, rule_for, unwrapped
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["Update", "along_settings", "updated"]

CHUNK = 1 << 17
"""Elements that one call of an element-wise rule works on: many small tensors are joined, a large one is cut, so that
neither the number of calls nor the memory of the rule's temporaries grows with the model."""


@dataclass
class _Held:
    """A parameter with a gradient, and its optimizer state."""

    name: str
    p: Tensor
    g: Tensor
    state: State
    group: Group
    scalars: tuple[float | None, ...]
    """The rule's scalars in the state."""

    def cast(self, scalars: tuple[str, ...]) -> State:
        """Returns the state in the dtype of θ, except for the scalars."""
        return {
            key: value.to(self.p.dtype) if key not in scalars and isinstance(value, Tensor) else value
            for key, value in self.state.items()
        }


@dataclass(frozen=True)
class Update:
    """One step θ' = θ + U(g) of the inner optimizer, from its state before the step."""

    after: Params
    """θ' by name, in new tensors; no entry for a parameter without gradient."""
    slope: dict[str, Tensor | float]
    """∂U/∂g of an element-wise rule by name: element by element, or one number for all elements."""
    replays: dict[str, "Replay"] = field(default_factory=dict)
    """The steps under a rule that is not element-wise, by name."""

    def pull_back(self, v: Params) -> Params:
        """Returns u = (∂U/∂g)ᵀ v by name; entries of v without gradient are left out. It overwrites v and the slopes
        to save
        memory: once only."""
        u: Params = {}
        for name in list(v):
            vi = v.pop(name)
            if name in self.slope:
                u[name] = vi * self.slope.pop(name)  # not in place: autograd may give two parameters one tensor
            elif name in self.replays:
                u[name] = self.replays.pop(name).pull_back(vi)
        return u


@dataclass(frozen=True)
class Replay:
    """The step of one parameter under a rule that is not element-wise, repeated when v is known."""

    rule: Rule
    p: Tensor
    g: Tensor
    state: State
    group: Group

    def pull_back(self, v: Tensor) -> Tensor:
        """Returns (∂U/∂g)ᵀ v."""
        with torch.enable_grad():
            g = self.g.detach().requires_grad_()
            moved, _ = self.rule.update(self.p, g, self.state, self.group)
            (u,) = torch.autograd.grad(moved, g, v)
        return u


def updated(problem: BilevelProblem, params: Params, gradients: Params) -> Update:
    """Returns the step that the inner optimizer takes from its present state, in the dtype of `params`.

    Args:
        problem: the problem with the optimizer, whose state is only read.
        params: θ by name, read only, as is g.
        gradients: g = ∂L_train/∂θ by name; a parameter without a gradient stays unchanged.

    Raises:
        UnsupportedError: the optimizer has no rule, a gradient is sparse, or the state of an element-wise rule has an
            entry of another shape than θ.
    """
    rule = rule_for(problem.optimizer)
    held = list(_held(problem, rule, params, gradients))
    if not rule.elementwise:
        replays = {h.name: _replay(rule, h) for h in held}
        return Update(dict(_moved(rule, held)), {}, replays)
    if rule.linear:
        return Update(dict(_moved(rule, held)), dict(_constant_slopes(rule, held)))
    moved: Params = {}
    slope: Params = {}
    for bucket in _buckets(held):
        moved_to, d = _step(rule, *bucket.joined(rule.scalars), bucket.group)
        bucket.hand_out(moved_to, moved)
        bucket.hand_out(d, slope)
    return Update(moved, dict(slope))


def along_settings(problem: BilevelProblem, params: Params, gradients: Params, v: Params, lambda_: Tensor) -> Tensor:
    """Returns ⟨v, θ'⟩, a scalar with a graph, where θ' depends on λ `[N]` only through the optimizer's settings.

    Args:
        problem: a problem with `inner_settings`.
        params: θ by name.
        gradients: g by name, as the optimizer receives it.
        v: by name.
        lambda_: λ, which requires a gradient.
    """
    assert problem.inner_settings is not None
    rule = rule_for(problem.optimizer)
    groups = problem.inner_settings.groups(problem.structure.unflatten(lambda_))
    number = {id(group): i for i, group in enumerate(unwrapped(problem.optimizer).param_groups)}
    total = torch.zeros_like(lambda_[:1].sum())
    for h in _held(problem, rule, params, gradients):
        if h.name in v:
            group = groups[number[id(h.group)]]
            moved, _ = rule.update(h.p.detach(), h.g.to(h.p.dtype), h.cast(rule.scalars), group)
            total = total + (v[h.name] * moved).sum()
    return total


def _step(rule: Rule, p: Tensor, g: Tensor, state: State, group: Group) -> tuple[Tensor, Tensor]:
    """Returns θ' and ∂θ'/∂g of an element-wise rule."""
    if rule.slope is not None:
        with torch.no_grad():
            return rule.slope(p, g, state, group)
    with torch.enable_grad():
        g = g.detach().requires_grad_()
        moved, _ = rule.update(p.detach(), g, state, group)
        (d,) = torch.autograd.grad(moved, g, torch.ones_like(g))
    return moved.detach(), d


def _moved(rule: Rule, held: list[_Held]) -> Iterator[tuple[str, Tensor]]:
    """Yields θ' by name, one parameter at a time."""
    with torch.no_grad():
        for h in held:
            yield h.name, rule.update(h.p, h.g.to(h.p.dtype), h.cast(rule.scalars), h.group)[0]


def _constant_slopes(rule: Rule, held: list[_Held]) -> Iterator[tuple[str, float]]:
    """Yields ∂U/∂g of a linear U: U(1) at θ = 0 with averages of 0, computed once for parameters of one kind."""
    known: dict[Any, float] = {}
    for h in held:
        kind = (id(h.group), tuple(h.state), h.scalars)
        if kind not in known:
            zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
            state = {key: value if key in rule.scalars else zero for key, value in h.state.items()}
            known[kind] = rule.update(zero, one, state, h.group)[0].item()
        yield h.name, known[kind]


def _replay(rule: Rule, h: _Held) -> Replay:
    """Copies everything that the training changes later."""
    state = {
        key: value.detach().clone() if isinstance(value, Tensor) else value
        for key, value in h.cast(rule.scalars).items()
    }
    return Replay(rule, h.p.detach().clone(), h.g.to(h.p.dtype, copy=True), state, dict(h.group))


@dataclass
class _Bucket:
    """Pieces of parameters that one call of a rule updates: same group, scalars, dtype and device."""

    group: Group
    pieces: list[tuple[_Held, int, int]] = field(default_factory=list)
    """(parameter, first element, one past the last)."""
    size: int = 0

    def joined(self, scalars: tuple[str, ...]) -> tuple[Tensor, Tensor, State]:
        """Returns θ, g and the state of the pieces as vectors, all in the dtype of θ."""
        first = self.pieces[0][0]
        dtype = first.p.dtype
        state = {
            key: value if key in scalars else self._vector([h.state[key] for h, _, _ in self.pieces], dtype)
            for key, value in first.state.items()
        }
        p = self._vector([h.p for h, _, _ in self.pieces], dtype)
        return p, self._vector([h.g for h, _, _ in self.pieces], dtype), state

    def _vector(self, tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
        flat = [t.reshape(-1) for t in tensors]
        cut = [t if b - a == len(t) else t[a:b] for t, (_, a, b) in zip(flat, self.pieces, strict=True)]
        return (cut[0] if len(cut) == 1 else torch.cat(cut)).to(dtype)

    def hand_out(self, vector: Tensor, into: Params) -> None:
        """Stores views of `vector` for whole parameters in `into`; pieces are copied to tensors of their shapes."""
        for (h, a, b), part in zip(self.pieces, torch.split(vector, [b - a for _, a, b in self.pieces]), strict=True):
            if b - a == h.p.numel():
                into[h.name] = part.view(h.p.shape)
                continue
            if h.name not in into:
                into[h.name] = torch.empty_like(h.p, memory_format=torch.contiguous_format)
            into[h.name].view(-1)[a:b] = part


def _held(problem: BilevelProblem, rule: Rule, params: Params, gradients: Params) -> Iterator[_Held]:
    names, optimizer = problem.names(), unwrapped(problem.optimizer)
    for group in optimizer.param_groups:
        for p in group["params"]:
            name = names[id(p)]
            g = gradients.get(name)
            if g is None:
                continue
            if g.is_sparse:
                raise UnsupportedError(f"parameter {name!r} has a sparse gradient; build its module with sparse=False")
            state = {key: value for key, value in optimizer.state.get(p, {}).items() if value is not None}
            if rule.elementwise:
                _check_shapes(name, p, state, rule.scalars)
            scalars = tuple([float(state[key]) if key in state else None for key in rule.scalars])
            yield _Held(name, params[name], g, state, group, scalars)


def _check_shapes(name: str, p: Tensor, state: State, scalars: tuple[str, ...]) -> None:
    for key, value in state.items():
        if key not in scalars and (not isinstance(value, Tensor) or value.shape != p.shape):
            came = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UnsupportedError(
                f"the optimizer's state[{key!r}] of parameter {name!r} of shape {tuple(p.shape)} is {came}; register "
                f"the rule with scalars=(…, {key!r}) if it is one number per parameter, or with elementwise=False"
            )


def _buckets(held: list[_Held]) -> Iterator[_Bucket]:
    open_: dict[tuple[Any, ...], _Bucket] = {}
    for h in held:
        key = (id(h.group), tuple(h.state), h.scalars, h.p.dtype, h.p.device)
        size = h.p.numel()
        for a in range(0, size, CHUNK):
            b = min(a + CHUNK, size)
            bucket = open_.get(key) or open_.setdefault(key, _Bucket(h.group))
            bucket.pieces.append((h, a, b))
            bucket.size += b - a
            if bucket.size >= CHUNK:
                yield open_.pop(key)
    yield from open_.values()
