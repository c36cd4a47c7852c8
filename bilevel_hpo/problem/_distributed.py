"""Exact averages over the ranks of DistributedDataParallel or fully_shard; without them, nothing happens."""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bilevel_hpo.problem._sharding import refuse_unknown_shards, sharded_modules

__all__ = ["Ranks"]


class Ranks:
    """The processes that train one model together.

    If the loss of every rank is a mean over its share of the batch, and all shares have one size, the averages here
    are the gradients of the whole batch.

    Args:
        model: a model in `DistributedDataParallel` or `fully_shard`, which must then span all ranks; or a plain model
            (one process). Raises UnsupportedError if its parameters are sharded in another way.
    """

    def __init__(self, model: nn.Module) -> None:
        refuse_unknown_shards(model)
        self.wrapper = model if isinstance(model, DistributedDataParallel) else None
        self.shards = sharded_modules(model)
        """The modules that `fully_shard` has been applied to."""
        self._group = None if self.wrapper is None else self.wrapper.process_group
        self.several = self.wrapper is not None or bool(self.shards)
        """Whether there is something to average over."""

    @torch.no_grad()
    def averaged(self, tensor: Tensor) -> Tensor:
        """Returns the mean of `tensor` over the ranks; `tensor` itself if there is one rank."""
        if not self.several:
            return tensor
        mean = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(mean, group=self._group)
        return mean.div_(distributed.get_world_size(self._group))

    def averaged_number(self, value: float) -> float:
        """Returns the mean of `value` over the ranks."""
        if not self.several:
            return value
        module = self.wrapper or self.shards[0]
        device = next(module.parameters()).device
        return float(self.averaged(torch.tensor(value, dtype=torch.float64, device=device)))

    @contextlib.contextmanager
    def synchronised(self, wanted: bool) -> Iterator[None]:
        """Sets whether a backward pass inside averages its gradients, or keeps them for a later one."""
        with contextlib.nullcontext() if wanted or self.wrapper is None else self.wrapper.no_sync():
            for module in self.shards:
                module.set_requires_gradient_sync(wanted, recurse=False)
            yield

    @torch.no_grad()
    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Replaces every tensor by that of the first rank."""
        if self.several:
            for tensor in tensors:
                distributed.broadcast(tensor.detach(), src=0, group=self._group)
