"""Walk through the autograd graph of a tensor."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction, once_differentiable

__all__ = ["custom_functions", "nodes_of", "once_differentiable_functions"]


def nodes_of(tensor: Tensor) -> Iterator[Any]:
    """Yields every node of the graph of `tensor` once; none for a leaf."""
    if tensor.grad_fn is None:
        return
    seen: set[Any] = {tensor.grad_fn}
    waiting: list[Any] = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def custom_functions(tensor: Tensor) -> list[str]:
    """Names of the functions in the graph of `tensor` whose derivatives are not torch's own: each
    `torch.autograd.Function` of Python or C++, operators with `register_autograd`."""
    return sorted({_name(node) for node in nodes_of(tensor) if _is_custom(node)})


def once_differentiable_functions(tensor: Tensor) -> list[str]:
    """Those of them whose backward is marked `once_differentiable`: torch takes its result for a constant, and what
    the second derivative lacks is not said."""
    return sorted({_name(node) for node in nodes_of(tensor) if isinstance(node, BackwardCFunction) and _once(node)})


def _is_custom(node: Any) -> bool:
    return isinstance(node, BackwardCFunction) or node.name().startswith("torch::autograd::CppNode")


def _name(node: Any) -> str:
    cls = getattr(type(node), "_forward_cls", None)
    return str(node.name()) if cls is None else str(cls.__name__)


def _once(node: Any) -> bool:
    cls = type(node)._forward_cls
    # torch lets a Function name its derivative `backward` or `vjp`.
    return any(getattr(getattr(cls, name, None), "__code__", None) is _ONCE for name in ("backward", "vjp"))


def _nothing(ctx: Any, *gradients: Tensor) -> None: ...


_ONCE = once_differentiable(_nothing).__code__
"""The body of what `once_differentiable` makes of a function."""
