"""Faster tangents of the most expensive operations, with fewer kernels than torch uses."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional

from bilevel_hpo.hypergradients._proven import ProvenOnly

__all__ = ["FusedTangents"]

_aten = torch.ops.aten

Rule = Callable[..., Any]
"""The arguments of the function ↦ its result, a dual tensor; NotImplemented where the rule does not apply."""


class FusedTangents(ProvenOnly):
    """Computes the tangents of affine maps, products, sums and common activations cheaply inside a `dual_level`.

    For x W + b torch (2.13) takes three products even where x has no tangent, as in every first layer, and adds them up
    in separate passes; here only the products that are not zero are taken, accumulated in place. The tangent of an
    activation is its derivative times the tangent of its input, which is what the fused kernel of its backward pass
    computes; torch composes SiLU's from nine passes. The numbers are the same up to rounding.

    It applies to tensors that do not require a gradient; all others, and autocast, use torch's rules, as `ProvenOnly`
    allows.
    """

    autocast: torch.dtype | None = None
    """The dtype of an autocast region that was seen inside; None if there was none."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        rule = _RULES.get(func)
        if rule is not None and args and torch.is_autocast_enabled(args[0].device.type):
            self.autocast = torch.get_autocast_dtype(args[0].device.type)
        elif rule is not None:
            result = rule(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        return super().__torch_function__(func, types, args, kwargs)


def _taken_apart(*tensors: Tensor | None) -> list[tuple[Any, Any]] | None:
    """Returns (value, tangent) of every tensor; None if there is no tangent at all, or λ is involved."""
    apart: list[tuple[Any, Any]] = []
    for x in tensors:
        if x is None:
            apart.append((None, None))
            continue
        if not isinstance(x, Tensor) or x.requires_grad:
            return None
        value, tangent = forward_ad.unpack_dual(x)  # type: ignore[no-untyped-call]
        if tangent is not None and tangent.requires_grad:
            return None
        apart.append((value, tangent))
    return apart if any(tangent is not None for _, tangent in apart) else None


def _dual(value: Tensor, tangent: Tensor) -> Tensor:
    joined: Tensor = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
    return joined


def _product(product: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Any:
    """The rule of a·b, for any product that is linear in both."""
    apart = _taken_apart(a, b)
    if apart is None:
        return NotImplemented
    (a, da), (b, db) = apart
    tangent = None if da is None else product(da, b)
    if db is not None:
        other = product(a, db)
        tangent = other if tangent is None else tangent.add_(other)
    assert tangent is not None
    return _dual(product(a, b), tangent)


def _affine(first: Callable[..., Tensor], add_: Callable[..., Tensor], b: Tensor | None, x: Tensor, w: Tensor) -> Any:
    """The rule of b + x·w: `first(b, x, w)`, with b possibly None, and `add_(t, x, w)` in place."""
    apart = _taken_apart(b, x, w)
    if apart is None:
        return NotImplemented
    (b, db), (x, dx), (w, dw) = apart
    tangent = None
    if dw is not None:
        tangent = first(db, x, dw)
    if dx is not None:
        tangent = first(db, dx, w) if tangent is None else add_(tangent, dx, w)
    value = first(b, x, w)
    if tangent is None:
        tangent = db.expand_as(value)
    return _dual(value, tangent)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    def add_(tangent: Tensor, x: Tensor, w: Tensor) -> Tensor:
        tangent.view(-1, tangent.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]), w.t())
        return tangent

    if not isinstance(weight, Tensor) or weight.ndim != 2:
        return NotImplemented
    return _affine(lambda b, x, w: functional.linear(x, w, b), add_, bias, input, weight)


def _addmm(b: Tensor, x: Tensor, w: Tensor, **options: Any) -> Any:
    if options:
        return NotImplemented
    return _affine(
        lambda b, x, w: torch.mm(x, w) if b is None else torch.addmm(b, x, w), lambda t, x, w: t.addmm_(x, w), b, x, w
    )


def _baddbmm(b: Tensor, x: Tensor, w: Tensor, **options: Any) -> Any:
    if options:
        return NotImplemented
    return _affine(
        lambda b, x, w: torch.bmm(x, w) if b is None else torch.baddbmm(b, x, w),
        lambda t, x, w: t.baddbmm_(x, w),
        b,
        x,
        w,
    )


def _bilinear(product: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    def rule(a: Tensor, b: Tensor, **options: Any) -> Any:
        return NotImplemented if options else _product(product, a, b)

    return rule


def _sum(sign: int) -> Rule:
    """The rule of a + b or a − b, with broadcasting; torch adds the tangents in Python."""

    def rule(a: Any, b: Any, **options: Any) -> Any:
        if options or not (isinstance(a, Tensor) and isinstance(b, Tensor)):
            return NotImplemented
        apart = _taken_apart(a, b)
        if apart is None:
            return NotImplemented
        (a, da), (b, db) = apart
        value = a + b if sign > 0 else a - b
        if db is not None and sign < 0:
            db = -db
        tangent = da if db is None else db if da is None else da + db
        return _dual(value, tangent.expand_as(value).to(value.dtype))

    return rule


def _square(x: Tensor) -> Any:
    apart = _taken_apart(x)
    if apart is None:
        return NotImplemented
    ((x, dx),) = apart
    return _dual(x.square(), 2 * x * dx)


def _activation(value: Callable[..., Tensor], derivative: Callable[..., Tensor]) -> Rule:
    """The rule of an element-wise f; `derivative(tangent, x, f(x), **options)` is f'(x) times the tangent."""

    def rule(input: Tensor, *positional: Any, inplace: bool = False, **options: Any) -> Any:
        if inplace or positional:
            return NotImplemented
        apart = _taken_apart(input)
        if apart is None:
            return NotImplemented
        ((x, dx),) = apart
        y = value(x, **options)
        return _dual(y, derivative(dx, x, y, **options))

    return rule


_silu = _activation(functional.silu, lambda dx, x, y: _aten.silu_backward(dx, x))
_gelu = _activation(
    functional.gelu, lambda dx, x, y, approximate="none": _aten.gelu_backward(dx, x, approximate=approximate)
)
_tanh = _activation(torch.tanh, lambda dx, x, y: _aten.tanh_backward(dx, y))
_sigmoid = _activation(torch.sigmoid, lambda dx, x, y: _aten.sigmoid_backward(dx, y))

_RULES: dict[Any, Rule] = {
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__), _sum(1)),
    **dict.fromkeys((torch.sub, Tensor.sub, Tensor.__sub__), _sum(-1)),
    **dict.fromkeys((torch.square, Tensor.square), _square),
    functional.linear: _linear,
    torch.addmm: _addmm,
    torch.baddbmm: _baddbmm,
    **dict.fromkeys((torch.mm, Tensor.mm), _bilinear(torch.mm)),
    **dict.fromkeys((torch.bmm, Tensor.bmm), _bilinear(torch.bmm)),
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _bilinear(torch.matmul)),
    functional.silu: _silu,
    functional.gelu: _gelu,
    **dict.fromkeys((torch.tanh, Tensor.tanh, functional.tanh), _tanh),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, functional.sigmoid), _sigmoid),
}
