"""Find out why a loss does not depend on λ or θ, from one real evaluation of it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bilevel_hpo.problem._graph import nodes_of

__all__ = ["Probe", "leaves_of", "probed"]

_CUTS = {
    "detach": ".detach()",
    "detach_": ".detach_()",
    "item": ".item()",
    "tolist": ".tolist()",
    "numpy": ".numpy()",
    "__array__": "a conversion to numpy",
    "__float__": "float(...)",
    "__int__": "int(...)",
}
"""Name of a function of torch that loses the graph -> how it is written."""


@dataclass
class Probe:
    """The result of one probed evaluation of a loss."""

    loss: Tensor | None = None
    without_grad: bool = False
    """Something that required a gradient was used under `torch.no_grad` or `torch.inference_mode`."""
    cuts: list[str] = field(default_factory=list)
    """How tensors that required a gradient lost it."""

    def depends_on(self, tensors: Iterable[Tensor]) -> bool:
        """Whether the graph of the loss leads to one of `tensors`, which are leaves."""
        wanted = {id(x) for x in tensors}
        return any(id(leaf) in wanted for leaf in self.leaves())

    def leaves(self) -> Iterator[Tensor]:
        """Returns the leaves of the graph of the loss."""
        return iter(()) if self.loss is None else leaves_of(self.loss)

    def cause(self, which: str, of: str) -> str | None:
        """Returns why `which` has no gradient with respect to `of`, if this evaluation shows it; otherwise None."""
        if self.without_grad:
            return f"{which} runs under torch.no_grad() or torch.inference_mode(), so it has no gradient in {of}"
        if self.cuts:
            return f"{which} takes {of} out of the graph by {' and '.join(sorted(set(self.cuts)))}"
        return None


def probed(evaluate: Callable[[], Tensor]) -> Probe:
    """Evaluates a loss and records where gradients are lost."""
    probe = Probe()
    with torch.enable_grad(), _Watch(probe):
        probe.loss = evaluate()
    return probe


class _Watch(TorchFunctionMode):
    def __init__(self, probe: Probe) -> None:
        super().__init__()
        self._probe = probe

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(x.requires_grad for x in (*args, *kwargs.values()) if isinstance(x, Tensor)):
            name = getattr(func, "__name__", "")
            result = func(*args, **kwargs)
            if func == Tensor.data.__get__:  # type: ignore[attr-defined]
                self._probe.cuts.append(".data")
            elif name in _CUTS:
                self._probe.cuts.append(_CUTS[name])
            elif not torch.is_grad_enabled() and isinstance(result, Tensor) and result.is_floating_point():
                self._probe.without_grad = True
            return result
        return func(*args, **kwargs)


def leaves_of(tensor: Tensor) -> Iterator[Tensor]:
    """Yields the tensors that require a gradient and from which `tensor` was computed."""
    if tensor.grad_fn is None and tensor.requires_grad:
        yield tensor
    for node in nodes_of(tensor):
        if hasattr(node, "variable"):
            yield node.variable
