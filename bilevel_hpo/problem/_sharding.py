"""Gather a model in `fully_shard` (FSDP2) for the passes of an estimator."""

import sys
from collections import defaultdict
from typing import Any, cast

import torch
from torch import Tensor, nn

from bilevel_hpo.errors import UnsupportedError

__all__ = ["Shards", "refuse_unknown_shards", "sharded_modules"]

_HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


def sharded_modules(model: nn.Module) -> list[Any]:
    """Returns the modules of `model` that `fully_shard` has been applied to."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return [] if fsdp is None else [m for m in model.modules() if isinstance(m, fsdp.FSDPModule)]


def refuse_unknown_shards(model: nn.Module) -> None:
    """Raises UnsupportedError for every kind of sharding except `fully_shard` in full precision."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp is not None and any(isinstance(m, fsdp.FullyShardedDataParallel) for m in model.modules()):
        raise UnsupportedError(
            "the model is in FullyShardedDataParallel (FSDP1), which flattens its parameters; use "
            "torch.distributed.fsdp.fully_shard (FSDP2), or torch.nn.parallel.DistributedDataParallel"
        )
    modules = sharded_modules(model)
    if not modules and any(_is_sharded(p) for p in model.parameters()):
        raise UnsupportedError(
            "the model has DTensor parameters without fully_shard (tensor parallelism), and an estimator needs them "
            "whole; use torch.distributed.fsdp.fully_shard or torch.nn.parallel.DistributedDataParallel"
        )
    for module in modules:
        if module._get_fsdp_state()._mp_policy.param_dtype is not None:
            raise UnsupportedError(
                "fully_shard casts the parameters (mp_policy), which the passes of an estimator do not; leave the "
                "policy out and use torch.autocast inside the losses"
            )


class Shards:
    """A plain copy of a model in `fully_shard` and of its optimizer, filled with whole tensors when they are needed.

    Every rank then holds all of θ, the optimizer's state and the gradient until `release`: an outer step needs the
    memory of a training without sharding, the inner steps in between do not.

    Args:
        model: a model with `fully_shard` applied to it or to its parts.
        optimizer: the optimizer of its parameters.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._source, self._source_optimizer = model, optimizer
        self._sharded = dict(model.named_parameters())
        shells = {id(p): nn.Parameter(torch.empty(0, dtype=p.dtype, device=p.device)) for p in self._sharded.values()}
        self._shells: dict[int, nn.Parameter] = shells
        self.model = _plain(model, shells, {})
        """The plain model: original classes without the hooks of `fully_shard`; it shares the model's buffers."""
        self.optimizer = object.__new__(type(optimizer))
        """The optimizer of the plain copy, of the same class."""
        self.optimizer.__dict__.update(optimizer.__dict__)
        self.model.register_state_dict_pre_hook(lambda *_: self.gather())  # type: ignore[no-untyped-call]
        self.model.register_load_state_dict_pre_hook(lambda *_: self.gather())  # type: ignore[no-untyped-call]
        self.model.register_load_state_dict_post_hook(lambda *_: self._scatter())  # type: ignore[no-untyped-call]
        self.gather()

    @torch.no_grad()
    def gather(self, *, gradients: bool = False) -> None:
        """Copies θ, the optimizer's state and the modes of the modules as they are now; called on all ranks at once."""
        for source, plain in zip(self._source.modules(), self.model.modules(), strict=True):
            plain.training = source.training
        for p in self._sharded.values():
            shell = self._shells[id(p)]
            shell.grad = None
            shell.data = _whole(p.detach()).detach()
            shell.requires_grad_(p.requires_grad)
            if gradients and p.grad is not None:
                shell.grad = _whole(p.grad)
        state: defaultdict[Tensor, Any] = defaultdict(dict)
        for held, values in self._source_optimizer.state.items():
            state[self._shells[id(held)]] = {key: _whole(value) for key, value in values.items()}
        self.optimizer.state = state
        self.optimizer.param_groups = [
            {**group, "params": [self._shells[id(p)] for p in group["params"]]}
            for group in self._source_optimizer.param_groups
        ]

    def release(self) -> None:
        """Frees the whole tensors."""
        self.optimizer.state = defaultdict(dict)
        for shell in self._shells.values():
            shell.grad, shell.data = None, shell.data.new_empty(0)

    @torch.no_grad()
    def _scatter(self) -> None:
        """Writes what was loaded into the plain copy to the shards."""
        for p in self._sharded.values():
            whole, shard = self._shells[id(p)].detach(), cast(Any, p)
            if _is_sharded(p):
                whole = torch.distributed.tensor.distribute_tensor(whole, shard.device_mesh, shard.placements)
            p.copy_(whole)


def _is_sharded(x: object) -> bool:
    return isinstance(x, Tensor) and hasattr(x, "full_tensor")


def _whole(x: Any) -> Any:
    return cast(Any, x).full_tensor() if _is_sharded(x) else x


def _plain(module: nn.Module, shells: dict[int, nn.Parameter], known: dict[int, nn.Module]) -> nn.Module:
    """Returns `module` as it was before `fully_shard`, with `shells` for its parameters."""
    if id(module) in known:
        return known[id(module)]
    kind: Any = type(module)
    if sharded_modules(module)[:1] == [module]:
        kind = kind.__mro__[kind._orig_cls_mro_index]
    plain: nn.Module = object.__new__(kind)
    known[id(module)] = plain
    plain.__dict__.update(module.__dict__)
    for name in _HOOKS:
        hooks = module.__dict__[name]
        ours = [k for k in hooks if _belongs_to_fsdp(module._forward_pre_hooks.get(k) or module._forward_hooks.get(k))]
        plain.__dict__[name] = type(hooks)((k, hook) for k, hook in hooks.items() if k not in ours)
    plain.__dict__["_parameters"] = {k: None if p is None else shells[id(p)] for k, p in module._parameters.items()}
    plain.__dict__["_modules"] = {
        k: None if m is None else _plain(m, shells, known) for k, m in module._modules.items()
    }
    return plain


def _belongs_to_fsdp(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("torch.distributed.fsdp")
