"""Evaluate losses in float64 whatever their dtype."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from bilevel_hpo.errors import UnsupportedError

__all__ = ["Float64"]


class Float64:
    """Makes every torch operation inside take its floating-point arguments in float64 and return float64.

    That holds for tensors of any origin: θ, λ, batches of any class, constants in a closure, buffers, the optimizer's
    state, and new tensors such as `torch.zeros`. Nothing outside changes, since casts make copies. Random numbers
    are drawn in their usual dtype and then cast, so that dropout masks and noise are the same as in the training step.

    It has no effect inside TorchScript, and an operation written for float32 only raises its own error.

    Args:
        drawn_in: the dtype in which the training step draws its random numbers.
    """

    def __init__(self, drawn_in: torch.dtype) -> None:
        self._modes = (_DrawIn(drawn_in), _Promote())

    def __enter__(self) -> "Float64":
        for mode in self._modes:
            mode.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)  # type: ignore[no-untyped-call]


def _promoted(x: Any) -> Any:
    """Returns tensors in float64, and float64 for every floating-point dtype; anything else unchanged."""
    if isinstance(x, Tensor):
        return x.double() if x.is_floating_point() and x.dtype != torch.float64 else x
    return torch.float64 if isinstance(x, torch.dtype) and x.is_floating_point else x


_CASTS = (Tensor.float, Tensor.half, Tensor.bfloat16, Tensor.double)


class _Promote(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _CASTS:
            func = Tensor.double
        return tree_map(_promoted, func(*tree_map(_promoted, args), **tree_map(_promoted, kwargs or {})))


class _DrawIn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Makes random operations draw in `dtype`, and casts their results back."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dtype = dtype

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        if func is torch.ops.aten.native_dropout.default:
            ones, mask = func(torch.ones_like(args[0], dtype=self._dtype), *args[1:], **kwargs)
            return args[0] * ones, mask
        if func._schema.is_mutable:
            written = func._schema.arguments[0].alias_info
            if written is None or not written.is_write:
                raise UnsupportedError(f"{func} draws random numbers in a way that has no copy in float64")
            drawn = func(torch.empty_like(args[0], dtype=self._dtype), *tree_map(self._low, args[1:]), **kwargs)
            return args[0].copy_(drawn)
        low = {name: self._dtype if value is torch.float64 else self._low(value) for name, value in kwargs.items()}
        return tree_map(_promoted, func(*tree_map(self._low, args), **low))

    def _low(self, x: Any) -> Any:
        return x.to(self._dtype) if isinstance(x, Tensor) and x.dtype == torch.float64 else x
