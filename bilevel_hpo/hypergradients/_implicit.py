"""The base of the implicit estimators: the linear system (H + ρ) q = v at a stationary θ."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients._base import Hypergradient
from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.hypergradients._second_order import refuse_once_differentiable, second_derivatives
from bilevel_hpo.optimizers import Group, unwrapped
from bilevel_hpo.problem import BilevelProblem

__all__ = ["Implicit", "MatVec"]

MatVec = Callable[[Tensor], Tensor]
"""x ↦ H x for vectors `[P]`, all parameters in one."""


class Implicit(Hypergradient):
    """dL_val(θ*(λ), λ)/dλ at the optimum θ* of the inner problem, by the implicit function theorem:

        dL_val/dλ = ∂L_val/∂λ − vᵀ H⁻¹ ∂²L_train/∂θ∂λ,   v = ∂L_val/∂θ,   H = ∂²L_train/∂θ².

    The subclasses differ in how they solve H q = v. An optimizer's `weight_decay`, if it is an L2 penalty, belongs
    to L_train and adds to H. Decoupled decay (AdamW, Muon, Adafactor) is the penalty of no loss and is left out. The
    optimizer's step plays no part, so any optimizer works; one outside `torch.optim` must say which kind of decay it
    has. Products H x take one backward pass over the graph of ∂L_train/∂θ, which is kept: memory of about two plain
    steps.
    """

    @abstractmethod
    def solve(self, product: MatVec, v: Tensor) -> Tensor:
        """Returns q ≈ H⁻¹ v, `[P]`."""

    def __call__(self, problem: BilevelProblem, lambda_: Tensor, train_batch: Any, val_batch: Any) -> Tensor:
        """Returns dL_val/dλ `[N]`, as if θ were the optimum for `lambda_` on `train_batch`."""
        sign, decay = _sign(problem), _decay(problem)
        lambda_ = lambda_.detach().clone().requires_grad_()
        with RandomState(), torch.enable_grad(), problem.composed(), second_derivatives():
            params = {name: p.requires_grad_() for name, p in problem.parameters().items()}
            leaves = list(params.values())
            loss = sign * problem.train_loss(params, problem.buffers(), lambda_, train_batch)
            refuse_once_differentiable(loss)
            g = torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True)
            gradient = torch.cat([gi.reshape(-1) for gi in g])
            v, explicit = problem.val_gradient(None, lambda_, val_batch)
            named = torch.cat([v.get(name, torch.zeros_like(p)).reshape(-1) for name, p in params.items()]).detach()
            penalty = torch.cat([torch.full_like(p, decay[name]).detach().reshape(-1) for name, p in params.items()])

            def product(x: Tensor) -> Tensor:
                parts = torch.autograd.grad(gradient, leaves, x, retain_graph=True, materialize_grads=True)
                h = problem.ranks.averaged(torch.cat([part.reshape(-1) for part in parts]))
                return h + penalty * x

            implicit = None
            if gradient.requires_grad:
                q = self.solve(product, named)
                (implicit,) = torch.autograd.grad(gradient, lambda_, -q, allow_unused=True)
        return problem.total(explicit, implicit)

    def check(self, problem: BilevelProblem) -> None:
        """Requires an optimizer that minimises in all groups or maximises in all groups."""
        _sign(problem)
        _decay(problem)
        if problem.inner_settings is not None:
            raise UnsupportedError(
                f"{self!r} does not differentiate a step, so inner_settings has no effect; use OneStep()"
            )


def _sign(problem: BilevelProblem) -> float:
    signs = {-1.0 if group.get("maximize") else 1.0 for group in problem.optimizer.param_groups}
    if len(signs) > 1:
        raise UnsupportedError(
            "all groups of the inner optimizer must have the same maximize: otherwise θ* is not an optimum"
        )
    return signs.pop()


def _decay(problem: BilevelProblem) -> dict[str, float]:
    """Returns the L2 penalty of every parameter; raises UnsupportedError if the kind of decay is unknown."""
    names, optimizer = problem.names(), unwrapped(problem.optimizer)
    return {names[id(p)]: _l2(optimizer, group) for group in optimizer.param_groups for p in group["params"]}


def _l2(optimizer: torch.optim.Optimizer, group: Group) -> float:
    decay, decoupled = float(group.get("weight_decay", 0.0)), group.get("decoupled_weight_decay")
    if decoupled is None and isinstance(optimizer, torch.optim.Muon | torch.optim.Adafactor):
        decoupled = True
    if decay and decoupled is None and not _is_of_torch(optimizer):
        raise UnsupportedError(
            f"inner optimizer {type(optimizer).__name__} has weight_decay={decay:g}; whether that is an L2 "
            "penalty of the gradient or decoupled is unknown: set 'decoupled_weight_decay' (False or True) in its "
            "param_groups, or use OneStep()"
        )
    return 0.0 if decoupled else decay


def _is_of_torch(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer's class, or a base class of it, belongs to torch."""
    bases = (cls for cls in type(optimizer).__mro__ if cls is not torch.optim.Optimizer)
    return any(cls.__module__.startswith("torch.optim.") for cls in bases)
