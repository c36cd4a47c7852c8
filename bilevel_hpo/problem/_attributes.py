"""Restore tensors that modules hold as plain attributes instead of buffers."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["kept_attributes"]

_OF_EVERY_MODULE = frozenset(nn.Module().__dict__)


class _Kept(NamedTuple):
    tensor: Tensor
    version: int | None
    """None where it is not counted (inference tensors)."""
    values: Tensor | None
    """A copy; None for a result with a graph, which nobody writes into."""


@contextlib.contextmanager
def kept_attributes(model: nn.Module) -> Iterator[None]:
    """Restores the tensor attributes of the modules of `model` that the code inside assigns or writes to.

    `self.last_attention = attn` in a forward pass, or a running mean that is not a buffer, would otherwise hold what
    the
    last pass of an estimator left: another batch, another dtype, a graph. Buffers are safe: an estimator works
    on copies. Attributes that are not tensors (a call counter, a list) are not restored.
    """
    before = [(module, _own(module)) for module in model.modules()]
    try:
        yield
    finally:
        for module, kept in before:
            _put_back(module, kept)


def _own(module: nn.Module) -> dict[str, object]:
    """Returns the attributes of a module by name, tensors as `_Kept`."""
    return {
        name: _kept(value) if isinstance(value, Tensor) else value
        for name, value in vars(module).items()
        if name not in _OF_EVERY_MODULE
    }


def _kept(tensor: Tensor) -> _Kept:
    version = None if tensor.is_inference() else tensor._version
    return _Kept(tensor, version, tensor.detach().clone() if tensor.grad_fn is None else None)


def _put_back(module: nn.Module, kept: dict[str, object]) -> None:
    attributes = vars(module)
    for name in [name for name in attributes if name not in _OF_EVERY_MODULE]:
        before = kept.get(name)
        if attributes[name] is before or type(before) is _Kept or not isinstance(attributes[name], Tensor):
            continue
        if name in kept:
            attributes[name] = before
        else:
            del attributes[name]
    for name, before in kept.items():
        if type(before) is _Kept:
            attributes[name] = before.tensor
            if before.version is not None and before.tensor._version != before.version and before.values is not None:
                with torch.no_grad():
                    before.tensor.copy_(before.values)
