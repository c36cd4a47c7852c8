"""Where the forward-mode derivative of a loss can be differentiated in λ once more."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

__all__ = ["NotProven", "ProvenOnly"]


class NotProven(Exception):
    """A function of torch takes λ and θ, and is not known to have a forward-mode derivative that is right in both."""


class ProvenOnly(TorchFunctionMode):
    """Inside, `NotProven` is raised by a function that receives what depends on λ and what has a tangent.

    torch differentiates some of its forward-mode formulas wrongly: for the statistics of `layer_norm` and `batch_norm`
    and the solution of `linalg.solve` they take numbers that carry no graph, so the derivative in λ is silently wrong
    (relative error .3, 240 and .4; torch 2.13), and those of `softmax` and `logsumexp` are overwritten in place.
    Only functions that the tests check against reverse mode pass. A function that receives λ alone, or θ alone,
    always passes: λ as loss weights, also behind a softmax, costs nothing here.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _PROVEN and any(x.requires_grad for x in _tensors(args, kwargs)):
            if any(forward_ad.unpack_dual(x).tangent is not None for x in _tensors(args, kwargs)):  # type: ignore[no-untyped-call]
                raise NotProven(getattr(func, "__name__", repr(func)))
        return func(*args, **kwargs)


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """The floating-point tensors among the arguments, and in lists and tuples among them."""
    for x in (*args, *kwargs.values()):
        if isinstance(x, Tensor):
            if x.is_floating_point():
                yield x
        elif isinstance(x, list | tuple):
            yield from _tensors(tuple(x), {})


NAMES = """
abs add addcmul addcdiv addmm addmv baddbmm bmm div dot einsum exp expm1 inner linear log log1p log2 logsigmoid matmul
mean mm mul multiply mv neg negative norm nansum outer positive pow prod reciprocal relu rsqrt rsub sigmoid sin cos
softplus sqrt square std sub subtract sum tanh tensordot true_divide truediv var
amax amin clamp clip max maximum min minimum where sort
cumsum diag diagonal
broadcast_to cat chunk clone concat contiguous expand expand_as flatten flip gather getitem index_select masked_select
movedim narrow permute ravel repeat reshape reshape_as select squeeze split stack swapaxes take tile transpose t
unbind unflatten unsqueeze view view_as
double float to type_as
conv1d conv2d elu gelu hardswish leaky_relu prelu selu celu dropout
binary_cross_entropy binary_cross_entropy_with_logits cosine_similarity huber_loss l1_loss mse_loss smooth_l1_loss
rms_norm group_norm
backward detach item requires_grad_ register_hook size dim
""".split()
"""Tested for a right derivative in λ of their forward-mode derivative, each by its own case."""


def _proven() -> set[Any]:
    found = set()
    for owner in (torch, Tensor, nn.functional, torch.special, torch.linalg):
        for name in NAMES:
            for spelled in (name, f"{name}_", f"__{name}__", f"__r{name}__", f"__i{name}__"):
                function = getattr(owner, spelled, None)
                if function is not None:
                    found.add(function)
    return found


_PROVEN = _proven()
