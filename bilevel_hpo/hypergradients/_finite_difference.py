"""The hypergradient of one inner step by a difference of two gradients in λ, the cheapest estimator."""

from weakref import WeakSet

import torch

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients._autocast import AutocastWatch
from bilevel_hpo.hypergradients._cross import Cross
from bilevel_hpo.hypergradients._difference import by_difference
from bilevel_hpo.hypergradients._inner_step import InnerStep
from bilevel_hpo.hypergradients._of_one_step import OfOneStep
from bilevel_hpo.hypergradients._one_step import OneStep
from bilevel_hpo.problem import BilevelProblem, Params

__all__ = ["FiniteDifference"]


class FiniteDifference(OfOneStep):
    """`OneStep` with the directional derivative by a difference quotient, for all λ at once, if that is accurate
    enough:

        dL_val/dλ ≈ ∂L_val/∂λ + (∂/∂λ L_train(θ + ε·u, λ) − ∂/∂λ L_train(θ, λ)) / ε.

    Source: Liu, Simonyan, Yang, DARTS (2019), Eq. 8, there for SGD and with three passes. The second term comes from
    the backward pass of the inner step, so only one forward pass over L_train without a graph is added.

    Cost on top of the inner step that it differentiates (`learner.step`): one forward and backward pass over L_val
    and one forward pass over L_train, about 0.5 plain steps, and memory of a few copies of θ. With `central=True`
    there are two forward passes, at θ ± ε·u. A result that the check refuses costs a whole `OneStep` more.

    Error: O(ε) plus rounding. In float32 that is between 1e-3 and several times the result: early under Adam, with ReLU
    and with BatchNorm the difference is mostly rounding. The check (see `OfOneStep`) detects that and computes these
    hypergradients by `OneStep`, which is why `OneStep` is the default. Use this one for smooth networks in
    mid-training, where an error of 1 % is acceptable and time matters.

    Do not use it in bfloat16 or under autocast, where rounding exceeds the difference (it refuses), nor where you need
    the exact number, nor where L_train detaches something that depends on θ (spectral norm, straight-through rounding:
    the difference includes its change, the training step does not): use `OneStep` or `Unrolled(1)`. It is as
    short-sighted as
    `OneStep`: use it with a `Budget`.

    Args:
        epsilon: the length of the shift ε·u relative to that of θ; by default a third of √(machine epsilon), or with
            `central` a fifth of its cube root.
        central: whether to use two forward passes instead of one; by default only in float64, where accuracy matters
            more.
        tolerance: as in `OfOneStep`; with None the difference is used whatever its error.
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
        """Requires an optimizer with an update rule, and θ in single or double precision."""
        super().check(problem)
        low = sorted({str(p.dtype) for p in problem.parameters().values()} - {"torch.float32", "torch.float64"})
        if low:
            raise UnsupportedError(f"the model's parameters are {', '.join(low)}: {_ROUNDING}")

    def exact(self) -> OneStep:
        """Returns the estimator by forward mode."""
        return OneStep(self.tolerance)

    def cross(self, problem: BilevelProblem, step: InnerStep, u: Params, *, complete: bool) -> Cross:
        """Computes the directional derivative by shifting θ along u."""
        precision = torch.finfo(step.lambda_.dtype).eps
        central = step.lambda_.dtype == torch.float64 if self.central is None else self.central
        relative = self.epsilon or (precision ** (1 / 3) / 5 if central else precision ** (1 / 2) / 3)
        terms = problem.train_loss if complete else problem.lambda_terms
        if problem in self._seen:
            return by_difference(problem, step, u, terms, relative, central=central)
        with AutocastWatch(step.lambda_.device.type) as watch:
            found = by_difference(problem, step, u, terms, relative, central=central)
        if watch.seen is not None:
            raise UnsupportedError(f"train_loss runs under autocast: {_ROUNDING}")
        self._seen.add(problem)
        return found

    def __repr__(self) -> str:
        options = [f"epsilon={self.epsilon:g}"] if self.epsilon else []
        options += [] if self.tolerance == 1e-2 else [f"tolerance={self.tolerance}"]
        options += [] if self.central is None else [f"central={self.central}"]
        return f"FiniteDifference({', '.join(options)})"


_ROUNDING = "rounding would exceed the difference; use OneStep()"
