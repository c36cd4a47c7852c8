"""Exact averages over the ranks of a model in DistributedDataParallel or fully_shard; without one, nothing happens."""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bilevel_hpo.problem._sharding import refuse_unknown_shards, sharded_modules

__all__ = ["Ranks"]


class Ranks:
    """The processes that train one model together.

    With every rank's loss a mean over its own share of the batch, all shares of one size, the averages taken here
    are the gradients of the whole batch.

    Args:
        model: in `DistributedDataParallel` or `fully_shard`, whose ranks must then be all that there are; or bare (one
            process). UnsupportedError where its parameters are sharded in another way.
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
        """The mean of `tensor` over the ranks; `tensor` itself where there is one rank."""
        if not self.several:
            return tensor
        mean = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(mean, group=self._group)
        return mean.div_(distributed.get_world_size(self._group))

    def averaged_number(self, value: float) -> float:
        """The mean of `value` over the ranks."""
        if not self.several:
            return value
        module = self.wrapper or self.shards[0]
        device = next(module.parameters()).device
        return float(self.averaged(torch.tensor(value, dtype=torch.float64, device=device)))

    @contextlib.contextmanager
    def synchronised(self, wanted: bool) -> Iterator[None]:
        """For a backward pass inside: whether its gradients are averaged, or kept until a later one is."""
        with contextlib.nullcontext() if wanted or self.wrapper is None else self.wrapper.no_sync():
            for module in self.shards:
                module.set_requires_gradient_sync(wanted, recurse=False)
            yield

    @torch.no_grad()
    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by that of the first rank."""
        if self.several:
            for tensor in tensors:
                distributed.broadcast(tensor.detach(), src=0, group=self._group)
