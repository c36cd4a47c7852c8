"""Compute the gradient of an inner step in `grad`, where the optimizer reads it."""

from typing import Any

import torch
from torch import Tensor, nn

from bilevel_hpo.batches import parts
from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.problem import BilevelProblem, Loss, checked_scalar

__all__ = ["accumulate"]


def accumulate(problem: BilevelProblem, model: nn.Module, train_loss: Loss, lambda_: Tensor, batch: Any) -> Tensor:
    """Adds ∂L_train/∂θ to the `grad` of the parameters, and ∂L_train/∂λ to that of `lambda_` if it requires a gradient.

    This is the training step itself: `model` as the user calls it, with one backward pass for each part of `batch`.

    Args:
        problem: gives the shapes of λ, and the ranks that train together.
        model: holds θ.
        train_loss: L_train.
        lambda_: λ `[N]`.
        batch: for L_train.

    Returns:
        L_train, detached.

    Raises:
        RuntimeError: gradients are switched off.
        UnsupportedError: L_train has no graph.
    """
    if not torch.is_grad_enabled():
        raise RuntimeError(
            "a step of the learner was called under torch.no_grad() or torch.inference_mode(), where train_loss has no "
            "gradient; call it outside"
        )
    micro = parts(batch)
    total = torch.zeros((), dtype=lambda_.dtype, device=lambda_.device)
    for number, part in enumerate(micro, 1):
        with problem.ranks.synchronised(number == len(micro)):
            weights = problem.structure.unflatten(lambda_)
            loss = checked_scalar(train_loss(model, weights, part), "train_loss") / len(micro)
            if not loss.requires_grad:
                raise UnsupportedError(
                    "train_loss(model, weights, batch) returned a scalar without a graph: it depends on no parameter "
                    "that requires a gradient, or loses them, for instance by .detach(), .item() or under "
                    "torch.no_grad()"
                )
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total
