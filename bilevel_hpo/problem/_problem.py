"""The bi-level problem as pure functions: L_train(θ, λ) and L_val(θ, λ) of explicit tensors.

The model is called through `torch.func.functional_call`, not through `higher`'s copy of the module. So forward
hooks, tied weights, old `weight_norm`, `class X(nn.Module, ABC)` and recurrent modules work as they are, and
buffers (BatchNorm statistics) are read from and written to a scratch copy. Compiled modules run uncompiled,
since a compiled graph can be differentiated only once and has no forward mode.
"""

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from bilevel_hpo.batches import parts
from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.problem._certificate import Certificate
from bilevel_hpo.problem._checkpointing import no_recomputation, recomputation
from bilevel_hpo.problem._clipping import Clipping
from bilevel_hpo.problem._compiled import as_written, original
from bilevel_hpo.problem._composed import Composed, needs_composed
from bilevel_hpo.problem._diagnosis import Probe, leaves_of, probed
from bilevel_hpo.problem._distributed import Ranks
from bilevel_hpo.problem._inner_settings import InnerSettings, SettingsOf
from bilevel_hpo.problem._sharding import Shards
from bilevel_hpo.problem._structure import Lambda, Structure

__all__ = ["BilevelProblem", "Loss", "Params"]

Loss = Callable[[Any, Any, Any], Tensor]
"""(model, λ, batch) ↦ scalar loss; λ has the shapes that `weights()` returns."""

Params = dict[str, Tensor]
"""Name in the model -> tensor."""


class _LossModule(nn.Module):
    """A module whose forward is the user's loss, so that all of it runs on the tensors passed."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, loss: Loss, lambda_: Lambda, batch: Any, then: Callable[[Any], Tensor]) -> Tensor:
        return then(loss(self.model, lambda_, batch))


def _as_it_is(loss: Any) -> Any:
    return loss


class _Sums:
    """The gradient of a mean over `n` losses, computed one by one."""

    def __init__(self, leaves: list[Tensor], n: int) -> None:
        self._leaves, self._n = leaves, n
        self._sums: list[Tensor | None] = [None] * len(leaves)

    def add(self, loss: Any) -> Any:
        """Adds the gradient of `loss` and frees its graph; returns `loss`."""
        if isinstance(loss, Tensor) and loss.ndim == 0 and loss.requires_grad:
            found = torch.autograd.grad(loss if self._n == 1 else loss / self._n, self._leaves, allow_unused=True)
            self._sums = [g if s is None else s if g is None else s + g for s, g in zip(self._sums, found, strict=True)]
        return loss

    def named(self, names: Iterable[str]) -> tuple[Params, Tensor | None]:
        """Returns the existing gradients in θ under `names`, and that in λ, the last of the leaves."""
        *theta, lambda_ = self._sums
        return {name: g for name, g in zip(names, theta, strict=True) if g is not None}, lambda_


class BilevelProblem:
    """The problem min_λ L_val(θ*(λ), λ) with θ*(λ) = argmin_θ L_train(θ, λ) (paper, Eq. 13), at the current θ.

    λ is one flat vector `[N]` here; the losses receive it in the shapes of `lambda_`.

    Args:
        model: the model that holds θ.
        optimizer: the inner optimizer of some or all of the model's parameters.
        train_loss: L_train, a scalar function of (model, λ, batch).
        val_loss: L_val, a scalar function of the same arguments.
        lambda_: an example of λ.
        lambda_terms: the terms of L_train that depend on λ; by default all of `train_loss`.
        clipping: the clipping of the gradient before the optimizer step; by default none.
        inner_settings: the optimizer's learning rate and weight decay as functions of λ; by default unchanged.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        train_loss: Loss,
        val_loss: Loss,
        lambda_: Lambda,
        lambda_terms: Loss | None = None,
        clipping: Clipping | None = None,
        inner_settings: SettingsOf | None = None,
    ) -> None:
        self.ranks = Ranks(original(model))
        self._called: nn.Module = model if self.ranks.wrapper is None else self.ranks.wrapper.module
        self._shards = Shards(original(self._called), optimizer) if self.ranks.shards else None
        if self._shards is not None:
            if clipping is not None or inner_settings is not None:
                raise UnsupportedError(
                    "inner_clip and inner_settings do not reach the shards of fully_shard; use DistributedDataParallel"
                )
            self._called, optimizer = self._shards.model, self._shards.optimizer
        self.model: nn.Module = original(self._called)
        self.optimizer, self.structure = optimizer, Structure(lambda_)
        self.values: dict[str, Tensor] = {}
        """The first value of each loss since this was cleared, for the learner's history."""
        self.certificate: Certificate | None = None
        """The estimator's certificate of its last hypergradient; None without a check."""
        self.clipping = clipping
        self.inner_settings = None if inner_settings is None else InnerSettings(inner_settings, optimizer, lambda_)
        self._losses = {
            "train_loss": train_loss,
            "val_loss": val_loss,
            "lambda_terms": train_loss if lambda_terms is None else lambda_terms,
        }
        self._module = _LossModule(self.model)
        self._example = self.structure.flatten(lambda_).detach().clone()
        self._sources = [leaf for part in self.structure.parts(lambda_) for leaf in leaves_of(part)]
        self._checked: set[str] = set()
        self._batches: dict[str, Any] = {}
        self._needs_composed = any(needs_composed(module) for module in self.model.modules())
        self._names = {id(p): name for name, p in self.model.named_parameters()}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) not in self._names:
                    raise UnsupportedError(
                        f"inner_optimizer steps on a parameter of shape {tuple(p.shape)} that the model does not list "
                        "in named_parameters(): it would be a constant to every hypergradient. Is it in a plain list? "
                        "Use nn.ParameterList or nn.ModuleList"
                    )

    def names(self) -> dict[int, str]:
        """The name in the model of every parameter of the optimizer, by its id."""
        held = [id(p) for group in self.optimizer.param_groups for p in group["params"]]
        if not all(p in self._names for p in held):  # a group was added
            self._names = {id(p): name for name, p in self.model.named_parameters()}
        return {p: self._names[p] for p in held}

    def parameters(self) -> Params:
        """Returns θ by name: the trainable parameters of the optimizer, detached (no copy); at least one must exist."""
        if self._shards is not None:
            self._shards.gather()
        trainable = self._trainable()
        if not trainable:
            raise UnsupportedError("the inner optimizer holds no parameter with requires_grad=True: there is no θ")
        return {name: p.detach() for name, p in trainable.items()}

    def _trainable(self) -> Params:
        names = self.names()
        held = (p for group in self.optimizer.param_groups for p in group["params"])
        return {names[id(p)]: p for p in held if p.requires_grad}

    def trained(self, names: Container[str]) -> list[Tensor]:
        """Returns the parameters themselves that are in θ and in `names`."""
        return [p for name, p in self._trainable().items() if name in names]

    def gradients(self) -> Params:
        """Returns the `grad` of the parameters in θ by name (no copy); without an entry if there is none."""
        if self._shards is not None:
            self._shards.gather(gradients=True)
        return {name: p.grad for name, p in self._trainable().items() if p.grad is not None}

    def frozen(self) -> Params:
        """Returns the model's other parameters by name, detached (no copy): they stay fixed, and may be passed in
        with θ if an evaluation needs every tensor in another dtype."""
        trained = self._trainable()
        return {name: p.detach() for name, p in self.model.named_parameters() if name not in trained}

    def buffers(self) -> Params:
        """Returns a scratch copy of the model's buffers, for one evaluation of a hypergradient."""
        return {name: b.detach().clone() for name, b in self.model.named_buffers()}

    def train_loss(self, params: Params, buffers: Params, lambda_: Tensor, batch: Any) -> Tensor:
        """Returns L_train(θ, λ) on `batch`, in the current mode (train or eval) of the model."""
        return self._call("train_loss", params, buffers, lambda_, batch)

    def lambda_terms(self, params: Params, buffers: Params, lambda_: Tensor, batch: Any) -> Tensor:
        """Returns the terms of L_train(θ, λ) that depend on λ: cheaper, with the derivatives in λ of `train_loss`."""
        return self._call("lambda_terms", params, buffers, lambda_, batch)

    def val_loss(self, params: Params, buffers: Params, lambda_: Tensor, batch: Any) -> Tensor:
        """Returns L_val(θ, λ) on `batch`, with the model in eval mode during the call."""
        with eval_mode(self.model):
            return self._call("val_loss", params, buffers, lambda_, batch)

    def val_gradient(
        self, at: tuple[Params, Params] | None, lambda_: Tensor, batch: Any
    ) -> tuple[Params, Tensor | None]:
        """v = ∂L_val/∂θ by name, averaged over the ranks, and ∂L_val/∂λ on this rank; what L_val does not name is left
        out, or None.

        Args:
            at: θ and the buffers; None for those of the model, which avoids `functional_call`.
            lambda_: λ `[N]`.
            batch: the batch of L_val.
        """
        if at is not None:
            _, v, explicit = self.gradient("val_loss", *at, lambda_, batch)
        else:
            leaves, lambda_ = self._trainable(), lambda_.detach().clone().requires_grad_()
            weights, sums = self.structure.unflatten(lambda_), _Sums([*leaves.values(), lambda_], len(parts(batch)))
            with eval_mode(self.model), recomputation():
                loss = self._mean(
                    "val_loss", batch, lambda part: sums.add(self._losses["val_loss"](self._called, weights, part))
                )
            if not loss.requires_grad:
                self._refuse_constant("val_loss", batch)
            v, explicit = sums.named(leaves)
        return {name: self.ranks.averaged(v.pop(name)) for name in list(v)}, explicit

    def gradient(
        self, which: str, params: Params, buffers: Params, lambda_: Tensor, batch: Any
    ) -> tuple[Tensor, Params, Tensor | None]:
        """Returns a loss, its gradient in θ by name and in λ `[N]`, on this rank; without a gradient, left out or None.

        The backward pass runs while the model still has `params` and `buffers`, and part by part: activation
        checkpointing and `MicroBatches` save as much memory as in training.

        Args:
            which: "train_loss" or "val_loss".
            params: θ.
            buffers: a scratch copy, which may change.
            lambda_: λ `[N]`.
            batch: the batch of the loss.
        """
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        lambda_ = lambda_.detach().clone().requires_grad_()
        sums = _Sums([*leaves.values(), lambda_], len(parts(batch)))
        mode = eval_mode(self.model) if which == "val_loss" else contextlib.nullcontext()
        with mode, torch.enable_grad():
            loss = self._call(which, leaves, buffers, lambda_, batch, sums)
        return loss.detach(), *sums.named(leaves)

    def total(self, explicit: Tensor | None, implicit: Tensor | None) -> Tensor:
        """Returns ∂L_val/∂λ + the part through θ, averaged over the ranks; a part is None if no λ changes it.

        Raises:
            UnsupportedError: both parts are None, or L_train loses the dependence on λ; the message says how.
        """
        if implicit is None and (explicit is None or "total" not in self._checked):
            self._checked.add("total")
            self._explain(explicit)
        self._batches.clear()
        if self._shards is not None:
            self._shards.release()
        known = [part.detach() for part in (explicit, implicit) if part is not None]
        return self.ranks.averaged(known[0] if len(known) == 1 else known[0] + known[1])

    def _explain(self, explicit: Tensor | None) -> None:
        """Raises UnsupportedError that says why no λ acts through θ, unless only L_val was meant to depend on λ."""
        lambda_, constant = self._example.clone().requires_grad_(), self.parameters()
        looked_at = {k: batch for k, batch in self._batches.items() if explicit is None or k == "train_loss"}
        probes = {which: self._probed(which, constant, lambda_, batch) for which, batch in looked_at.items()}
        for which, probe in probes.items():
            cause = None if probe.depends_on([lambda_]) else probe.cause(which, "`weights`")
            if cause is not None:
                raise UnsupportedError(f"{cause}; use the argument `weights` as it comes")
        if explicit is not None:
            return
        if "train_loss" in probes and not probes["train_loss"].depends_on([lambda_]):
            raise UnsupportedError(
                "neither train_loss nor val_loss depends on `weights`: multiply the losses by the argument that the "
                "loss functions receive"
            )
        raise UnsupportedError(f"`weights` cannot change θ in a way that val_loss would notice: {self._why_no_path()}")

    def _why_no_path(self) -> str:
        """Returns what is missing on the path λ → g → θ' → L_val, if L_train depends on λ."""
        theta = {name: p.detach().requires_grad_() for name, p in self.parameters().items()}
        moved = {which: set(theta) for which in ("train_loss", "val_loss")}
        for which, batch in self._batches.items():
            found = {id(leaf) for leaf in self._probed(which, theta, self._example, batch).leaves()}
            moved[which] = {name for name, p in theta.items() if id(p) in found}
        if not moved["train_loss"]:
            return "train_loss depends on no parameter of the inner optimizer"
        if not moved["train_loss"] & moved["val_loss"]:
            return "val_loss depends on no parameter of the inner optimizer on which train_loss depends"
        return "in train_loss they enter only terms without θ, so that ∂L_train/∂θ does not depend on them"

    def _refuse_constant(self, which: str, batch: Any) -> NoReturn:
        """Raises UnsupportedError for a loss without any gradient, with the cause if it can be found."""
        theta = {name: p.detach().requires_grad_() for name, p in self.parameters().items()}
        lambda_ = self._example.clone().requires_grad_()
        cause = self._probed(which, theta, lambda_, batch).cause(which, "θ and `weights`")
        raise UnsupportedError(cause or f"{which} depends neither on the model's parameters nor on `weights`")

    def _probed(self, which: str, params: Params, lambda_: Tensor, batch: Any) -> Probe:
        """Returns one evaluation of a loss on the first part of `batch`, with `params` for θ."""
        replaced = {f"model.{n}": x for n, x in (self.frozen() | params | self.buffers()).items()}
        arguments = self._losses[which], self.structure.unflatten(lambda_), parts(batch)[0], _as_it_is
        mode = eval_mode(self.model) if which == "val_loss" else contextlib.nullcontext()
        with mode, as_written(), torch.random.fork_rng(range(torch.cuda.device_count())):
            return probed(lambda: functional_call(self._module, replaced, arguments))

    @contextlib.contextmanager
    def composed(self) -> Iterator[None]:
        """Inside, attention, weight norm and embedding bags are made of operations with forward mode and second
        derivatives, and what is compiled runs as it was written."""
        composed = Composed() if self._needs_composed else contextlib.nullcontext()
        with as_written(), sdpa_kernel(SDPBackend.MATH), composed:
            yield

    def _call(
        self, which: str, params: Params, buffers: Params, lambda_: Tensor, batch: Any, sums: "_Sums | None" = None
    ) -> Tensor:
        """Returns a loss; with `sums`, adds its gradients there and frees its graph."""
        replaced = {f"model.{name}": tensor for name, tensor in {**params, **buffers}.items()}
        arguments = self._losses[which], self.structure.unflatten(lambda_)
        then = _as_it_is if sums is None else sums.add
        with as_written(), no_recomputation() if sums is None else recomputation():
            total = self._mean(
                which, batch, lambda part: functional_call(self._module, replaced, (*arguments, part, then))
            )
        if not total.requires_grad and torch.is_grad_enabled() and any(p.requires_grad for p in params.values()):
            self._refuse_constant(which, batch)
        # A module may assign a buffer anew instead of writing into it; `functional_call` notes that in `replaced`.
        buffers.update({name: replaced[f"model.{name}"].detach() for name in buffers})
        return total

    def _mean(self, which: str, batch: Any, of: Callable[[Any], Tensor]) -> Tensor:
        """Returns the mean loss of the parts of `batch`, and records it in `values`."""
        losses = [checked_scalar(of(part), which) for part in parts(batch)]
        total = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
        self.values.setdefault(which, total.detach())
        self._batches["train_loss" if which == "lambda_terms" else which] = batch
        if which not in self._checked:
            self._checked.add(which)
            if any(leaf is source for leaf in leaves_of(total) for source in self._sources):
                raise UnsupportedError(
                    f"{which} calls the `weights` module itself, which no hypergradient sees; use the argument "
                    "`weights` that it receives"
                )
        return total


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Puts the model in eval mode inside; restores the flag of every module afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


def checked_scalar(loss: object, which: str) -> Tensor:
    """Returns `loss` if it is a scalar tensor; raises TypeError naming the function that returned something else."""
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        came = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TypeError(f"{which}(model, weights, batch) must return a scalar tensor; it returned {came}")
    return loss
