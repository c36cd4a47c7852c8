"""The predictions of a network, and their distance from the labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gate_model.data.batches import Inputs

__all__ = ["evaluated", "predict", "rmse", "root_mean_square"]


def predict(model: nn.Module, x: Inputs, batch_size: int = 4096) -> NDArray[np.float64]:
    """Return the direct predictions `[N, T]` in standardised units. The model is in eval mode meanwhile."""
    return evaluated(model, model, x, batch_size)


def evaluated(model: nn.Module, of: Callable[[Any], Tensor], x: Inputs, batch_size: int = 4096) -> NDArray[np.float64]:
    """Return the values of a function for all molecules `[N, ...]`, computed batch by batch.

    Args:
        model: the network that the function calls; it is in eval mode meanwhile.
        of: the function, from a batch of inputs to a tensor `[B, ...]`.
        x: inputs of N molecules.
        batch_size: molecules per batch.
    """
    device, training = next(model.parameters()).device, model.training
    model.eval()
    with torch.no_grad():
        rows = torch.split(torch.arange(len(x)), batch_size)
        parts = [of(x[part].to(device)).double().cpu().numpy() for part in rows]
    model.train(training)
    return np.concatenate(parts)


def rmse(predicted: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean square error of each task `[T]` over the molecules that carry its label (NaN = no label).

    The error is NaN for a task without labels, and for a task with a prediction of NaN where there is a label.
    """
    known = ~np.isnan(labels)
    squared = np.where(known, predicted - labels, 0.0) ** 2
    n = known.sum(0)
    return np.where(n > 0, np.sqrt(squared.sum(0) / n.clip(1)), np.nan)


def root_mean_square(values: NDArray[np.float64]) -> float:
    """Return the root mean square of all values, and NaN if there is none."""
    return float(np.sqrt((values**2).mean())) if len(values) else float("nan")
