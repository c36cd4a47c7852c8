"""The exact hypergradient of one inner step, by forward mode: no graph of the training step is kept."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients._base import Hypergradient
from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.hypergradients._step import pull_back, step
from bilevel_hpo.optimizers import rule_for
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["OneStep"]


class OneStep(Hypergradient):
    """dL_val(θ'(λ), λ)/dλ for one real optimizer step θ' = θ + U(g), g = ∂L_train(θ, λ)/∂θ.

    With u = (∂U/∂g)ᵀ ∂L_val/∂θ', which is element-wise for the supported optimizers,

        dL_val/dλ = ∂L_val/∂λ + ∂/∂λ (d/dε) L_train(θ + ε·u, λ) at ε = 0.

    The directional derivative takes one forward-mode pass over L_train, and differentiating it in λ gives every λ
    at once, for any way in which λ enters L_train. Source: Liu, Simonyan, Yang, DARTS (2019), Eq. 7, there by
    finite differences; exact here, and for the optimizer's own step.

    Cost: one forward and backward pass over L_train, one over L_val, one forward-mode pass over L_train: about two
    plain steps; memory +3 % (the unrolled graph of `Unrolled(1)`: +129 %), whatever the number of λ.

    It sees one step ahead. On a free λ it is short-sighted: more loss weight lets that step go further, which is not
    the same as helping in the end. Use it with a `Budget`. Use `Unrolled` for a longer horizon, or where an operation
    has no forward mode.
    """

    def __call__(self, problem: BilevelProblem, lambda_: Tensor, train_batch: Any, val_batch: Any) -> Tensor:
        """dL_val/dλ, exact for the next step on `train_batch`."""
        lambda_ = lambda_.detach()
        with RandomState() as random, torch.enable_grad():
            params = {name: p.requires_grad_() for name, p in problem.parameters().items()}
            buffers = problem.buffers()
            train_loss = problem.train_loss(params, buffers, lambda_, train_batch)
            names, leaves = list(params), list(params.values())
            g = torch.autograd.grad(train_loss, leaves, allow_unused=True)
            gradients = {name: gi for name, gi in zip(names, g, strict=True) if gi is not None}

            stepped = step(problem, params, gradients)
            weights = lambda_.clone().requires_grad_()
            val_loss = problem.val_loss(stepped, buffers, weights, val_batch)
            if not val_loss.requires_grad:
                raise UnsupportedError("val_loss depends neither on the model's parameters nor on `weights`")
            *v, explicit = torch.autograd.grad(val_loss, [*stepped.values(), weights], allow_unused=True)
            cotangents = {n: vi for n, vi in zip(stepped, v, strict=True) if vi is not None and n in gradients}
            u = pull_back(problem, params, gradients, cotangents)

            random.rewind()
            implicit = _tangent_gradient(problem, u, weights, train_batch)
        if explicit is None and implicit is None:
            raise UnsupportedError(
                "neither train_loss nor val_loss depends on `weights`: multiply the losses by the argument that the "
                "loss functions receive, not by the module that made it"
            )
        return sum((part for part in (explicit, implicit) if part is not None), torch.zeros_like(lambda_))

    def check(self, problem: BilevelProblem) -> None:
        """The optimizer's step must be known; operations without forward mode show at the first call."""
        rule_for(problem.optimizer)

    def __repr__(self) -> str:
        return "OneStep()"


def _tangent_gradient(problem: BilevelProblem, u: Params, weights: Tensor, batch: Any) -> Tensor | None:
    """∂/∂λ of the derivative of L_train(·, λ) along u; None where L_train does not depend on λ."""
    params = problem.parameters()
    with forward_ad.dual_level():
        dual = {n: forward_ad.make_dual(p, u[n]) if n in u else p for n, p in params.items()}  # type: ignore[no-untyped-call]
        try:
            loss = problem.train_loss(dual, problem.buffers(), weights, batch)
        except (NotImplementedError, RuntimeError) as error:
            if "forward AD" not in str(error) and "forward-mode" not in str(error) and "jvp" not in str(error):
                raise
            raise UnsupportedError(
                f"train_loss uses an operation without forward mode ({str(error).splitlines()[0]}); use "
                "Unrolled(steps=1), which gives the same hypergradient by reverse mode"
            ) from error
        tangent = forward_ad.unpack_dual(loss).tangent  # type: ignore[no-untyped-call]
        if tangent is None or not tangent.requires_grad:
            return None
        (g,) = torch.autograd.grad(tangent, weights, allow_unused=True)
    return g
