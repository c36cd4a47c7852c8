"""Torch functions with missing or wrong derivatives, composed of plain operations."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

__all__ = ["Composed", "needs_composed"]


class Composed(TorchFunctionMode):
    """Gives weight norm and embedding bags inside forward mode and correct second derivatives.

    The fused weight norm has no forward mode, and its second derivatives in v are wrong: they treat ‖v‖ as constant
    (torch 2.13). `embedding_bag` has neither. With mode="max" it is not replaced.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch._weight_norm:
            v, g, dim = args
            return v * (g / torch.norm_except_dim(v, 2, dim))
        if func is functional.embedding_bag and kwargs.get("mode", args[6] if len(args) > 6 else "mean") != "max":
            return _embedding_bag(*args, **kwargs)
        return func(*args, **kwargs)


def needs_composed(module: nn.Module) -> bool:
    """Whether `module` itself calls one of these functions."""
    hooks = module._forward_pre_hooks.values()  # weight norm of the old kind; of the new, it is a parametrization
    kinds = (nn.utils.parametrizations._WeightNorm, nn.EmbeddingBag)
    return isinstance(module, kinds) or any(isinstance(hook, WeightNorm) for hook in hooks)


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Computes `torch.nn.functional.embedding_bag`, with the same arguments."""
    if offsets is None:
        bags, length = len(input), input.shape[1]
        bag = torch.arange(bags, device=input.device).repeat_interleave(length)
    else:
        ends = offsets[1:] if include_last_offset else torch.cat([offsets[1:], offsets.new_tensor([input.numel()])])
        starts = offsets[:-1] if include_last_offset else offsets
        bags = len(starts)
        bag = torch.arange(bags, device=input.device).repeat_interleave(ends - starts)
    rows = functional.embedding(input.reshape(-1), weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    share = rows.new_ones(len(rows)) if per_sample_weights is None else per_sample_weights.reshape(-1)
    if padding_idx is not None:
        share = share * (input.reshape(-1) != padding_idx % len(weight)).to(rows.dtype)
    if mode == "mean":
        share = share / share.new_zeros(bags).index_add(0, bag, share.detach()).clamp(min=1.0)[bag]
    return rows.new_zeros(bags, rows.shape[1]).index_add(0, bag, rows * share[:, None])
