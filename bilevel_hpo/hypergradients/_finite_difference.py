"""The hypergradient of one inner step by a difference of two gradients in λ: the cheapest."""

import contextlib
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bilevel_hpo.batches import parts
from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.hypergradients._of_one_step import Cross, OfOneStep
from bilevel_hpo.hypergradients._one_step import OneStep
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["FiniteDifference"]


class FiniteDifference(OfOneStep):
    """`OneStep` with the directional derivative by a difference quotient where that is good enough, all λ at once:

        dL_val/dλ ≈ ∂L_val/∂λ + (∂/∂λ L_train(θ + ε·u, λ) − ∂/∂λ L_train(θ, λ)) / ε.

    Source: Liu, Simonyan, Yang, DARTS (2019), Eq. 8, there for SGD and with three passes. The second term falls off
    the inner step's own backward pass, so one forward pass over L_train without a graph is all that is left.

    Cost on top of the inner step that it looks at (`learner.step`): one forward and backward pass over L_val and one
    forward pass over L_train, about 0.5 plain steps, and memory of a few copies of θ. With `central=True` there are two
    forward passes, at θ ± ε·u. What the check refuses costs a whole `OneStep` more.

    Error: O(ε) plus rounding. In float32 that is between 1e-3 and several times the result: early under Adam, with ReLU
    and with BatchNorm the difference is mostly rounding. The check (see `OfOneStep`) finds that out and computes these
    hypergradients by `OneStep`, which is why `OneStep` is the default. Use this one for smooth networks in
    mid-training, where a hundredth is good enough and time counts.

    Do not use it in bfloat16 or under autocast, where rounding swamps the difference (it refuses), nor where you need
    the exact number, nor where L_train detaches something that moves with θ (spectral norm, straight-through rounding:
    a difference sees it move, the training step does not): use `OneStep` or `Unrolled(1)`. It is as short-sighted as
    `OneStep`: use it with a `Budget`.

    Args:
        epsilon: length of the shift ε·u relative to that of θ; left out, a third of √(machine epsilon), or with
            `central` a fifth of its cube root.
        central: two forward passes instead of one. Left out, in float64 only, where digits count for more than time.
        tolerance: as in `OfOneStep`; None: the difference is used as it is, whatever its error.
    """

    def __init__(
        self, epsilon: float | None = None, central: bool | None = None, tolerance: float | None = 1e-2
    ) -> None:
        super().__init__(tolerance)
        if epsilon is not None and not epsilon > 0:
            raise ValueError(f"FiniteDifference needs epsilon > 0; got {epsilon}")
        self.epsilon, self.central = epsilon, central
        self._seen: WeakSet[BilevelProblem] = WeakSet()

    def check(self, problem: BilevelProblem) -> None:
        """The optimizer's step must be known, and θ in single or double precision."""
        super().check(problem)
        low = sorted({str(p.dtype) for p in problem.parameters().values()} - {"torch.float32", "torch.float64"})
        if low:
            raise UnsupportedError(f"the model's parameters are {', '.join(low)}: {_ROUNDING}")

    def exact(self) -> OneStep:
        """By forward mode."""
        return OneStep(self.tolerance)

    def cross(self, problem: BilevelProblem, step: InnerStep, u: Params, *, complete: bool) -> Cross:
        """By shifting θ along u."""
        if step.lambda_gradient is None:
            return Cross(torch.zeros_like(step.loss), None, step.lambda_.dtype)
        precision = torch.finfo(step.lambda_.dtype).eps
        central = step.lambda_.dtype == torch.float64 if self.central is None else self.central
        relative = self.epsilon or (precision ** (1 / 3) / 5 if central else precision ** (1 / 2) / 3)
        length = torch.stack(torch._foreach_norm([step.before[name] for name in u])).norm()
        size = torch.stack(torch._foreach_norm(list(u.values()))).norm()
        # At u = 0 the quotient is 0 for any ε; at θ = 0 the shift is measured by itself.
        epsilon = relative * torch.where(length > 0, length, 1.0) / torch.where(size == 0, 1.0, size)
        ahead = self._at(problem, step, u, epsilon, complete)
        if not central:
            behind, width = (step.loss, step.lambda_gradient), epsilon
        else:
            step.random.rewind()
            behind, width = self._at(problem, step, u, -epsilon, complete), 2 * epsilon
        slope, lambda_gradient = ((a - b) / width for a, b in zip(ahead, behind, strict=True))
        return Cross(slope, lambda_gradient, step.lambda_.dtype)

    def _at(
        self, problem: BilevelProblem, step: InnerStep, u: Params, epsilon: Tensor, complete: bool
    ) -> tuple[Tensor, Tensor]:
        """L_train(θ + ε·u, λ), or the terms of it that name λ, and its gradient in λ `[N]`."""
        weights = step.lambda_.clone().requires_grad_()
        shifted = {n: torch.addcmul(p, u[n], epsilon.to(p.dtype)) if n in u else p for n, p in step.before.items()}
        buffers = {name: b.clone() for name, b in step.buffers_before.items()}
        terms = problem.train_loss if complete else problem.lambda_terms
        micro = parts(step.batch)
        total, gradient = torch.zeros_like(step.loss), torch.zeros_like(weights)
        for part in micro:
            with contextlib.nullcontext() if problem in self._seen else _RefuseAutocast(weights.device.type):
                loss = terms(shifted, buffers, weights, part) / len(micro)
            self._seen.add(problem)
            gradient += torch.autograd.grad(loss, weights)[0]
            total += loss.detach()
        return total, gradient

    def __repr__(self) -> str:
        options = [f"epsilon={self.epsilon:g}"] if self.epsilon else []
        options += [] if self.tolerance == 1e-2 else [f"tolerance={self.tolerance}"]
        options += [] if self.central is None else [f"central={self.central}"]
        return f"FiniteDifference({', '.join(options)})"


_ROUNDING = "rounding would swamp the difference; use OneStep()"


class _RefuseAutocast(TorchFunctionMode):
    """Finds autocast inside the user's loss; used for the first evaluation only."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_autocast_enabled(self._device):
            raise UnsupportedError(f"train_loss runs under autocast: {_ROUNDING}")
        return func(*args, **(kwargs or {}))
