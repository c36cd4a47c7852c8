"""Exact averages over the ranks of a model in DistributedDataParallel; without one, nothing happens."""

import contextlib
from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bilevel_hpo.errors import UnsupportedError

__all__ = ["Ranks"]


class Ranks:
    """The processes that train one model together.

    With every rank's loss a mean over its own share of the batch, all shares of one size, the averages taken here
    are the gradients of the whole batch.

    Args:
        model: in `DistributedDataParallel`, or bare (one process). UnsupportedError where its parameters are sharded.
    """

    def __init__(self, model: nn.Module) -> None:
        self.wrapper = model if isinstance(model, DistributedDataParallel) else None
        if any(type(p.data).__name__ == "DTensor" or type(p).__name__ == "FlatParameter" for p in model.parameters()):
            raise UnsupportedError(
                "the model's parameters are sharded (FSDP), and an estimator needs them whole; use "
                "torch.nn.parallel.DistributedDataParallel"
            )

    @torch.no_grad()
    def averaged(self, tensor: Tensor) -> Tensor:
        """The mean of `tensor` over the ranks; `tensor` itself where there is one rank."""
        if self.wrapper is None:
            return tensor
        mean = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(mean, group=self.wrapper.process_group)
        return mean.div_(distributed.get_world_size(self.wrapper.process_group))

    def averaged_number(self, value: float) -> float:
        """The mean of `value` over the ranks."""
        if self.wrapper is None:
            return value
        device = next(self.wrapper.parameters()).device
        return float(self.averaged(torch.tensor(value, dtype=torch.float64, device=device)))

    def synchronised(self, wanted: bool) -> contextlib.AbstractContextManager[None]:
        """For a backward pass inside: whether its gradients are averaged, or kept until a later one is."""
        return contextlib.nullcontext() if wanted or self.wrapper is None else self.wrapper.no_sync()

    @torch.no_grad()
    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by that of the first rank."""
        if self.wrapper is not None:
            for tensor in tensors:
                distributed.broadcast(tensor.detach(), src=0, group=self.wrapper.process_group)
