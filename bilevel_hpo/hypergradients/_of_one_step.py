"""The base of the estimators of one inner step: the chain rule through the step, and a check of its rounding."""

import math
from abc import abstractmethod
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bilevel_hpo.hypergradients._base import Hypergradient
from bilevel_hpo.hypergradients._citations import DARTS
from bilevel_hpo.hypergradients._cross import Cross
from bilevel_hpo.hypergradients._float64 import Float64
from bilevel_hpo.hypergradients._inner_step import InnerStep, imagined_step
from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.hypergradients._same_loss import another_loss
from bilevel_hpo.hypergradients._update import along_settings
from bilevel_hpo.optimizers import rule_for, unwrapped
from bilevel_hpo.problem import BilevelProblem, Certificate, Params

__all__ = ["MARGIN", "OfOneStep"]

MARGIN = 300.0
"""A result below float64 is accepted if the difference is this much smaller than the tolerance. A difference by
rounding is one draw of a random number, which is small by chance one time in this many."""


class _Direction(NamedTuple):
    u: Params
    explicit: Tensor | None
    """The part of the hypergradient that does not need L_train, `[N]` on this rank."""
    known: Tensor | None
    """g·u; None if it is not needed."""


class OfOneStep(Hypergradient):
    """dL_val(θ'(λ), λ)/dλ for one real optimizer step θ' = θ + U(C(g)), g = ∂L_train(θ, λ)/∂θ, C the clipping.

    With u = (∂(U∘C)/∂g)ᵀ ∂L_val/∂θ',

        dL_val/dλ = ∂L_val/∂λ + ∂/∂λ (d/dε) L_train(θ + ε·u, λ) at ε = 0,

    plus (∂U/∂λ)ᵀ ∂L_val/∂θ' if U's learning rate or weight decay is a function of λ (`inner_settings`).

    A subclass defines the directional derivative, `cross`. `learner.step` passes it a step whose gradient
    the training needs anyway, so it is not computed a second time.

    **Rounding.** The derivative (d/dε) L_train along u is found twice, independently: by `cross`, and as g·u from the
    gradient of the inner step. If the two differ by more than a small share of the result, rounding (or the error
    of a difference) has entered the hypergradient. It is computed again: by forward mode if `cross` is not exact, then
    in float64 from the same θ, λ, batch and optimizer state. A result that even float64 does not certify is marked in
    the learner's history (`certified`), counted (`learner.uncertified`) and reported by a warning.

    The first step of an optimizer that divides by the size of the gradient (Adam and its relatives) is always
    computed in
    float64: there U hardly depends on the length of g, and the rest of ∂U/∂g is determined by elements of g
    near the optimizer's eps, which float32 does not resolve. Both derivatives share that error.

    Under autocast the whole training has the precision of bfloat16 or float16: then a difference of up to four times
    its machine epsilon is accepted.

    Args:
        tolerance: the largest relative error that is accepted; None switches the check off.
    """

    references = (DARTS,)

    def __init__(self, tolerance: float | None) -> None:
        if tolerance is not None and not tolerance > 0:
            raise ValueError(f"{type(self).__name__} needs tolerance > 0, or None for no check; got {tolerance}")
        self.tolerance = tolerance

    @abstractmethod
    def cross(self, problem: BilevelProblem, step: InnerStep, u: Params, *, complete: bool) -> Cross:
        """Returns the directional derivative along u. An estimator that is `exact` may overwrite u.

        Args:
            problem: the problem with the losses.
            step: θ, λ, the train batch, and the gradient there.
            u: the direction by parameter name; not empty.
            complete: whether `slope` must be that of the whole L_train; otherwise that of `problem.lambda_terms` is
                enough, since `lambda_gradient` is the same.
        """

    def exact(self) -> "OfOneStep | None":
        """An estimator whose only error is rounding, for results that this one cannot certify; None for itself."""
        return None

    def __call__(self, problem: BilevelProblem, lambda_: Tensor, train_batch: Any, val_batch: Any) -> Tensor:
        """Returns dL_val/dλ `[N]` of the next step on `train_batch`."""
        with RandomState():
            return self.of(problem, imagined_step(problem, lambda_, train_batch), val_batch)

    def of(self, problem: BilevelProblem, step: InnerStep, val_batch: Any) -> Tensor:
        """Returns dL_val/dλ `[N]` of a step that is about to be taken."""
        with RandomState():
            g, problem.certificate = self._certified(problem, step, val_batch)
        return g

    def _certified(self, problem: BilevelProblem, step: InnerStep, val_batch: Any) -> tuple[Tensor, Certificate | None]:
        """Uses the cheapest way that is accurate enough, or the last one if none is. A non-finite result has no
        certificate: the learner leaves it out."""
        trusted = self.tolerance is None or not _is_first(problem, step)
        direction = self._direction(problem, step, val_batch)
        g, certificate = self._along(problem, step, direction)
        if not bool(g.isfinite().all()):
            return g, None
        exact = self.exact()
        if exact is not None and not (certificate.certified and trusted):
            g, certificate = exact._along(problem, step, direction)
        if (certificate.certified and trusted) or step.lambda_.dtype == torch.float64:
            return g, certificate
        certificate = replace(certificate, certified=False)
        values = dict(problem.values)  # the history shows the losses of the training step
        problem.values.clear()
        step.random.rewind()
        try:
            with Float64(next(iter(step.before.values())).dtype), problem.composed():  # no fused attention in float32
                doubled = imagined_step(problem, step.lambda_, step.batch, step.buffers_before)
                random = RandomState()
                last = exact or self
                g64, in_float64 = last._along(problem, doubled, last._direction(problem, doubled, val_batch))
                random.rewind()
                val_losses = values["val_loss"], problem.values["val_loss"]
                precision = getattr(torch, certificate.computed_in)
                another = another_loss(problem, step, doubled, val_losses, val_batch, precision)
        except Exception as error:  # whatever the loss raises in float64, the training goes on, and it is said
            return g, replace(certificate, reason=f"{type(error).__name__}: {error}".splitlines()[0])
        finally:
            problem.values.clear()
            problem.values.update(values)
        if another:
            return g64.to(g.dtype), replace(in_float64, certified=False, reason=another)
        return g64.to(g.dtype), in_float64

    def _direction(self, problem: BilevelProblem, step: InnerStep, val_batch: Any) -> _Direction:
        """Returns the direction along which L_train must be differentiated."""
        with torch.enable_grad():
            v, explicit = problem.val_gradient(step.after, step.lambda_, val_batch)
            if problem.inner_settings is not None:
                explicit = _plus(explicit, _through_settings(problem, step, v))
            u = step.clipped.pull_back(step.update.pull_back(v))
        return _Direction(u, explicit, _slope(step.gradients, u) if u and self.tolerance is not None else None)

    def _along(self, problem: BilevelProblem, step: InnerStep, direction: _Direction) -> tuple[Tensor, Certificate]:
        """Returns g `[N]` in the dtype of the step, and its certificate."""
        u, explicit, known = direction
        if not u:
            return problem.total(explicit, None), Certificate(0.0, _name(step.lambda_.dtype), certified=True)
        step.random.rewind()
        with torch.enable_grad():
            found = self.cross(problem, step, u, complete=known is not None)
        if found.custom and found.lambda_gradient is None and found.judged != 0.0:  # that it depends on λ may be lost
            found = found._replace(lambda_gradient=torch.zeros_like(step.lambda_))
        g = problem.total(explicit, found.lambda_gradient)
        computed_in = _name(found.precision)
        if known is None or self.tolerance is None:
            return g, Certificate(math.nan, computed_in, certified=True)
        in_float64 = found.precision == torch.float64
        if found.custom and found.judged is None:
            return g, Certificate(math.nan, computed_in, False, f"custom functions: {found.custom}")
        if found.judged is not None:
            error = found.judged
            if found.lambda_gradient is not None and g.any():
                error *= _share(problem.ranks.averaged(found.lambda_gradient.detach()), g)
            certified = error <= self.tolerance / MARGIN
            reason = f"a derivative in λ is missing or wrong: {found.custom}"
            return g, Certificate(error, computed_in, certified, "" if certified else reason)
        if not found.independent:
            return g, Certificate(math.nan, computed_in, certified=in_float64)
        error = _rounding(problem, step, known, found, g)
        wanted = self.tolerance if in_float64 else self.tolerance / MARGIN
        if found.precision != step.lambda_.dtype and not in_float64:
            wanted = max(wanted, 4 * torch.finfo(found.precision).eps)
        return g, Certificate(error, computed_in, certified=error <= wanted)

    def check(self, problem: BilevelProblem) -> None:
        """Requires an optimizer with an update rule; unsupported operations raise an error at the first call."""
        rule_for(problem.optimizer)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _through_settings(problem: BilevelProblem, step: InnerStep, v: Params) -> Tensor | None:
    """Returns (∂θ'/∂λ)ᵀ v `[N]` through learning rate and weight decay; v is the same on every rank."""
    lambda_ = step.lambda_.clone().requires_grad_()
    along = along_settings(problem, step.before, step.clipped.gradients, v, lambda_)
    return torch.autograd.grad(along, lambda_)[0] if along.requires_grad else None


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _is_first(problem: BilevelProblem, step: InnerStep) -> bool:
    """Whether the step is not linear in g and the optimizer has no state yet for some parameters."""
    if rule_for(problem.optimizer).linear:
        return False
    optimizer = unwrapped(problem.optimizer)
    states = [optimizer.state.get(p, {}) for p in problem.trained(step.gradients)]
    return not all(states) or (bool(states) and float(states[0].get("step", 1)) == 0)


def _slope(gradients: Params, u: Params) -> Tensor:
    """Returns g·u; the sums of single parameters, which torch computes pairwise, are added in float64."""
    return torch.stack([(gradients[name] * ui).sum().double() for name, ui in u.items()]).sum()


def _rounding(problem: BilevelProblem, step: InnerStep, known: Tensor, found: Cross, g: Tensor) -> float:
    """Returns the difference of both slopes along u, relative to the hypergradient `g`.

    Where λ weighs losses, the slope is Σ_k λ_k t_k with t = `found.lambda_gradient`. Its relative error, or that of its
    terms where these cancel, is taken for that of t.
    """
    if found.lambda_gradient is None:
        return 0.0
    difference = (problem.ranks.averaged(found.slope.detach().double()) - known).abs()
    if difference == 0:
        return 0.0
    t = problem.ranks.averaged(found.lambda_gradient.detach()).double()
    size = torch.maximum(known.abs(), (step.lambda_ * t).norm())
    if not g.any():  # a zero is believed in float64 only
        return float(difference / size) if g.dtype == torch.float64 else math.inf
    return float(difference / size) * _share(t, g)


def _share(t: Tensor, g: Tensor) -> float:
    """Returns the factor from the relative error of t to that of g, of which t is a summand."""
    return float(t.norm() / g.double().norm())
