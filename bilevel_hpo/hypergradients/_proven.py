"""Detect where the forward-mode derivative of a loss cannot be differentiated in λ."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

__all__ = ["ProvenOnly", "UnprovenError"]


class UnprovenError(Exception):
    """Raised for a torch function of λ and θ whose forward-mode derivative is not known to be right in both."""


class ProvenOnly(TorchFunctionMode):
    """Makes an unproven function whose arguments depend on λ and have a tangent raise `UnprovenError`.

    torch differentiates some of its forward-mode formulas wrongly. Those of `layer_norm`, `batch_norm` and
    `linalg.solve` use numbers that carry no graph, and the derivative in λ is silently wrong (relative errors of .3,
    240 and .4; torch 2.13); those of `softmax` and `logsumexp` are overwritten in place, and torch raises an error.
    The functions named in `PROVEN` are tested against reverse mode, each by a case of its own. A function that receives
    λ alone, or θ alone, always passes: λ as loss weights, also behind a softmax, or as strengths of decay.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in _FUNCTIONS:
            return result
        if _depends_on_lambda((result,), {}) and _depends_on_lambda(args, kwargs):
            for x in _tensors(args, kwargs):
                if forward_ad.unpack_dual(x).tangent is not None:  # type: ignore[no-untyped-call]
                    raise UnprovenError(getattr(func, "__name__", repr(func)))
        return result


_NAMES = """
abs add addcdiv addcmul addmm addmv baddbmm bmm div dot einsum exp expm1 inner linear log log1p log2 logsigmoid
matmul mean mm mul multiply mv neg negative norm outer pow prod reciprocal relu rsqrt rsub sigmoid sin cos
softplus sqrt square std sub subtract sum tanh tensordot true_divide truediv var
amax amin clamp clip max maximum min minimum where sort cumsum diag diagonal
broadcast_to cat chunk clone concat contiguous expand expand_as flatten flip gather getitem index_select
masked_select movedim narrow permute ravel repeat reshape reshape_as select squeeze split stack swapaxes take tile
transpose t unbind unflatten unsqueeze view view_as double float to type_as
conv1d conv2d elu gelu hardswish leaky_relu prelu selu celu dropout
binary_cross_entropy binary_cross_entropy_with_logits cosine_similarity huber_loss l1_loss mse_loss smooth_l1_loss
rms_norm group_norm
"""

PROVEN = frozenset(_NAMES.split())
"""Names of functions whose forward-mode derivative has the right derivative in λ; as methods and operators too."""

_PROPERTIES = ("T", "mT", "data", "H", "mH")


def _functions() -> Iterator[Any]:
    for owner in (torch, Tensor, nn.functional, torch.special):
        for name in PROVEN:
            for spelled in (name, f"{name}_", f"__{name}__", f"__r{name}__", f"__i{name}__"):
                if hasattr(owner, spelled):
                    yield getattr(owner, spelled)
    for name in _PROPERTIES:
        yield getattr(Tensor, name).__get__


_FUNCTIONS = frozenset(_functions())


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Yields the floating-point tensors among the arguments, also inside lists and tuples."""
    for x in (*args, *kwargs.values()):
        if isinstance(x, Tensor):
            if x.is_floating_point():
                yield x
        elif isinstance(x, list | tuple):
            yield from _tensors(tuple(x), {})


def _depends_on_lambda(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether it depends on λ, the only tensor that requires a gradient."""
    return any(x.requires_grad for x in _tensors(args, kwargs))
