"""Check the arguments of `BilevelLearner` before any work."""

from typing import Any

import torch
from torch import nn

from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients import Hypergradient
from bilevel_hpo.problem import ClipNorm, ClipValue

__all__ = ["check_arguments", "labels_of"]


def check_arguments(
    weights: Any,
    inner_optimizer: torch.optim.Optimizer,
    outer_optimizer: torch.optim.Optimizer | None,
    hypergradient: object,
    inner_clip: object,
    clip: float | None,
    max_skipped: int,
) -> None:
    """Checks the arguments as the learner receives them.

    Raises:
        TypeError: an argument has the wrong type; the message says what to write.
        ValueError: a value is out of range, or the outer optimizer does not hold exactly the parameters of `weights`.
        UnsupportedError: the inner optimizer evaluates the loss itself.
    """
    _check_weights(weights)
    _check_estimator(hypergradient)
    _check_clipping(inner_clip)
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be a positive norm; got {clip}")
    if max_skipped < 1:
        raise ValueError(f"max_skipped must be at least 1; got {max_skipped}")
    if outer_optimizer is not None and _held(outer_optimizer) != {id(p) for p in weights.parameters()}:
        raise ValueError("outer_optimizer must hold the parameters of `weights`, all of them and no others")
    if isinstance(inner_optimizer, torch.optim.LBFGS):
        raise UnsupportedError("inner optimizer LBFGS evaluates the loss several times a step; use SGD, Adam or AdamW")


def labels_of(weights: object, n: int) -> list[str]:
    """Returns the names of the `n` entries of λ, or their numbers if `weights` has no `labels`.

    Raises:
        ValueError: there are more or fewer labels than entries.
    """
    labels = list(getattr(weights, "labels", None) or map(str, range(n)))
    if len(labels) != n:
        raise ValueError(
            f"weights.labels must have a name for each of the {n} entries of λ; got {len(labels)}, {labels[:5]}"
        )
    return labels


def _check_weights(weights: object) -> None:
    if isinstance(weights, nn.Module):
        return
    came = f"the class {weights.__name__}" if isinstance(weights, type) else f"a {type(weights).__name__}"
    raise TypeError(
        f"weights is {came}; it must be a module whose call gives λ, for instance LossWeights(['a', 'b'], "
        "init=[1.0, 0.5]), with a name and a start for each λ"
    )


def _check_estimator(hypergradient: object) -> None:
    if hypergradient is None or isinstance(hypergradient, Hypergradient):
        return
    if isinstance(hypergradient, type) and issubclass(hypergradient, Hypergradient):
        name = hypergradient.__name__
        raise TypeError(f"hypergradient={name} is a class; it must be an estimator, {name}()")
    raise TypeError(
        f"hypergradient={hypergradient!r} is a {type(hypergradient).__name__}; it must be an estimator, for instance "
        "OneStep()"
    )


def _check_clipping(inner_clip: object) -> None:
    if inner_clip is None or isinstance(inner_clip, ClipNorm | ClipValue):
        return
    value = inner_clip if isinstance(inner_clip, int | float) else 1.0
    raise TypeError(
        f"inner_clip={inner_clip!r} is a {type(inner_clip).__name__}; it must be ClipNorm({value}), which clips the "
        f"norm of the gradient, or ClipValue({value}), which clips its elements"
    )


def _held(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}
