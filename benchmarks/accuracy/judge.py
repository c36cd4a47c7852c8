"""The same hypergradient from the same state in float64, by reverse mode: what float32 is measured against."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from accuracy.zoo import Training
from bilevel_hpo import BilevelLearner, Unrolled

__all__ = ["exact"]


def exact(training: Training, lambda_: Tensor, train_batch: Any, val_batch: Any) -> Tensor:
    """dL_val/dλ `[N]` of the next step, by `Unrolled(1)` on a copy of the model and its optimizer in float64.

    The random draws are those of float32, so that dropout masks and perturbations are the same.

    Args:
        training: where the training stands; nothing of it changes.
        lambda_: λ in float32, in the shape that `training.weights()` gives.
        train_batch: of the step.
        val_batch: of the validation loss.
    """
    model, optimizer = copy.deepcopy((training.model, training.optimizer))
    model.double()  # in place: the optimizer's parameters are still the model's
    for state in optimizer.state.values():
        state.update({key: _double(value) for key, value in state.items() if key != "step"})
    learner = BilevelLearner(
        model,
        optimizer,
        _Given(lambda_.double()),
        train_loss=training.train_loss,
        val_loss=training.val_loss,
        hypergradient=Unrolled(1),
    )
    with _SameDraws():
        return learner.hypergradient(_double(train_batch), _double(val_batch)).flatten()


class _Given(nn.Module):
    """λ as it is, under no constraint."""

    def __init__(self, lambda_: Tensor) -> None:
        super().__init__()
        self.lambda_ = nn.Parameter(lambda_)

    def forward(self) -> Tensor:
        return self.lambda_

    def project_(self) -> None:
        """Nothing to do."""


class _SameDraws(TorchFunctionMode):
    """`torch.randn` draws in float32 whatever is asked for; dropout draws the same masks in both by itself."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.randn and kwargs.get("dtype") == torch.float64:
            return func(*args, **{**kwargs, "dtype": torch.float32}).double()
        return func(*args, **kwargs)


def _double(value: Any) -> Any:
    """Floating-point tensors in float64, also in (named) tuples."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_double, value))
    return value
