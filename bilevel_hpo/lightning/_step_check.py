"""Check that the Trainer takes the step that the hypergradient belongs to."""

import warnings
from collections.abc import Iterable
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients import RandomState
from bilevel_hpo.learner import Weights
from bilevel_hpo.problem import BilevelProblem, Params, kept_attributes

__all__ = ["StepCheck", "distance", "tolerance"]

HOOKS = ["on_before_backward", "backward", "on_after_backward", "on_before_optimizer_step", "optimizer_step"]
"""Hooks of the LightningModule that may change the gradient or leave out the step."""

DRAWS = 4
"""Gradients under other random numbers, which show how far apart two of them are by chance."""


class StepCheck:
    """Compares the gradient that the optimizer uses with ∂L_train/∂θ of `train_loss` at the current λ.

    Both are taken at the same θ, on the same batch, with the same random numbers, after clipping. They are equal up to
    rounding if and only if the step that an estimator differentiates is the step that the Trainer takes. The comparison
    costs one forward and one backward pass.

    If the gradients differ, chance must be ruled out: `training_step` may draw its random numbers in another order.
    A difference within three times the spread of `DRAWS` gradients of `train_loss` only gives a warning, and
    only where no gradient reached the parameters of `weights`.

    Args:
        problem: L_train as a function of θ and λ, evaluated as in the Trainer.
        weights: the module whose call returns λ.
        module: the LightningModule, for the advice in the messages.
        tolerance: the largest `distance` of two evaluations of one gradient.
    """

    def __init__(
        self,
        problem: BilevelProblem,
        weights: Weights,
        module: LightningModule,
        tolerance: float,
    ) -> None:
        self._problem, self._weights, self._module, self._tolerance = problem, weights, module, tolerance
        self._batch: Any = None
        self._start: Tensor | None = None
        self._handle: torch.utils.hooks.RemovableHandle | None = None
        self._warned = False

    def arm(self, batch: Any, start: Tensor) -> None:
        """Schedules a comparison in the next step, on `batch`; `start` is λ `[N]` before the first outer step."""
        self._let_go()
        self._batch, self._start = batch, start.to(self._now())
        for p in self._raw():  # DistributedDataParallel may need the tensor
            if p.grad is not None:
                p.grad.zero_()
        self._handle = self._problem.optimizer.register_step_pre_hook(self._before_step)

    def finish(self) -> None:
        """Ends the batch; raises UnsupportedError if a comparison was due and the optimizer took no step."""
        if self._handle is not None:
            self._let_go()
            raise UnsupportedError(
                "the optimizer took no step on a batch for which λ was moved, so the hypergradient was that of a step "
                "that is never taken. Let optimizer_step of the LightningModule step on every batch, or use "
                "BilevelLearner in your own loop"
            )

    def _let_go(self) -> None:
        if self._handle is not None:
            self._handle.remove()
        self._handle = self._batch = None

    def _raw(self) -> list[nn.Parameter]:
        return list(cast(nn.Module, self._weights).parameters())

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """Runs before the optimizer's step; the closure holds `training_step`, `backward`, hooks and clipping."""
        with RandomState() as random:
            loss, expected = self._gradient(self._now())
        closure = kwargs.get("closure")
        if closure is None:
            self._compare(None, loss, expected, random)
            return None

        def compared() -> Any:
            result = closure()
            self._compare(result, loss, expected, random)
            return result

        return args, {**kwargs, "closure": compared}

    def _gradient(self, lambda_: Tensor) -> tuple[Tensor, Params]:
        """Returns L_train, and ∂L_train/∂θ as the optimizer would receive it."""
        leaves = {name: p.requires_grad_() for name, p in self._problem.parameters().items()}
        with kept_attributes(self._problem.model), torch.enable_grad():
            loss = self._problem.train_loss(leaves, self._problem.buffers(), lambda_, self._batch)
            found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        named = {n: self._problem.ranks.averaged(g) for n, g in zip(leaves, found, strict=True) if g is not None}
        clipping = self._problem.clipping
        used = named if clipping is None else dict(zip(named, clipping.clipped(list(named.values())), strict=True))
        return loss.detach(), used

    def _compare(self, result: Any, loss: Tensor, expected: Params, random: RandomState) -> None:
        seen = self._problem.gradients()
        if seen:  # training_step may return None to leave out a batch
            far = distance(seen, expected)
            if far > self._tolerance:  # not where it is nan
                self._judge(far, seen, expected, random, _values(result, loss))
        self._let_go()

    def _judge(self, far: float, seen: Params, expected: Params, random: RandomState, losses: str) -> None:
        """Decides whether a difference is an error, a warning, or chance."""
        assert self._start is not None
        with RandomState():
            constants = {"as at the start": self._start, "1 throughout": torch.ones_like(self._start)}
            for which, lambda_ in constants.items():
                random.rewind()
                if distance(seen, self._gradient(lambda_)[1]) <= self._tolerance:
                    raise UnsupportedError(
                        f"λ never arrives in training_step: the Trainer's gradient is that of train_loss with λ "
                        f"{which}, {far:.1%} from the one at the present λ{losses}. {_ADVICE}"
                    )
            spread = 0.0
            for seed in range(DRAWS):
                torch.manual_seed(seed)
                spread = max(spread, distance(self._gradient(self._now())[1], expected))
        if far > 3 * spread + self._tolerance:
            raise UnsupportedError(
                f"the gradient that the optimizer uses is {far:.1%} away from that of train_loss at the present λ"
                f"{losses}. {_ADVICE}{self._hooks()}"
            )
        if not self._warned and not any(p.grad is not None and p.grad.any() for p in self._raw()):
            self._warned = True
            warnings.warn(
                f"training_step may not use λ: its gradient is {far:.1%} away from that of train_loss at the present "
                f"λ{losses}, which may be due to random numbers drawn in another order, and no gradient reached "
                f"`weights`. {_ADVICE}",
                stacklevel=2,
            )

    def _now(self) -> Tensor:
        return self._problem.structure.flatten(self._weights()).detach()

    def _hooks(self) -> str:
        overridden = [hook for hook in HOOKS if is_overridden(hook, self._module)]
        return f" If it does, look at what changes the gradient: {', '.join(overridden)}." if overridden else ""


_ADVICE = (
    "Let training_step return train_loss(self, weights(), batch), with the `weights` and the `train_loss` of the "
    "callback. If the difference is intended, pass check_step=False"
)


def tolerance(trainer: Trainer) -> float:
    """Returns the largest `distance` between two evaluations of a gradient in the Trainer's precision."""
    return {"64-true": 1e-6, "32-true": 2e-3}.get(str(trainer.precision), 5e-2)


def distance(one: Params, other: Params) -> float:
    """Returns ‖a − b‖ / ‖b‖ over all parameters; missing entries count as 0."""
    apart = []
    for name in one | other:
        both = [gradients[name] for gradients in (one, other) if name in gradients]
        apart.append(both[0] - both[1] if len(both) == 2 else both[0])
    far, length = _length(apart), _length(other.values())
    return far / length if length != 0 else float("inf") if far else 0.0


def _length(gradients: Iterable[Tensor]) -> float:
    norms = [g.norm().double() for g in gradients]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _values(result: Any, loss: Tensor) -> str:
    """Returns both losses as text, if the Trainer's is known."""
    if not isinstance(result, Tensor):
        return ""
    return f" (training_step returned {result.item():.7g}, train_loss gives {loss.item():.7g})"
