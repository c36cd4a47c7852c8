"""Training in bfloat16: the networks run under autocast, and the losses are computed in float32."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from gate_model.model.gate import GATE
from gate_model.training.settings import Precision

__all__ = ["HalfPrecision", "in_precision"]

Loss = Callable[[nn.Module, Tensor, Any], Tensor]

_NETWORKS = frozenset({"embed", "encode", "to_manifold", "from_manifold", "regress"})


def in_precision(loss: Loss, precision: Precision) -> Loss:
    """Return the loss with the networks in this precision.

    Raises:
        ValueError: `precision` is neither "float32" nor "bfloat16".
    """
    if precision == "float32":
        return loss
    if precision == "bfloat16":
        return HalfPrecision(loss)
    raise ValueError(f"precision={precision!r}: it must be 'float32' or 'bfloat16'")


@dataclass(frozen=True)
class HalfPrecision:
    """(model, λ, batch) ↦ `loss`, with GATE's networks under bfloat16 autocast and their outputs turned into float32.

    Errors and means are computed in float32, and so are the mapping losses, which use the weights of the networks
    directly. The parameters and the optimizer stay in float32; bfloat16 needs no gradient scaler.
    """

    loss: Loss

    def __call__(self, model: nn.Module, weights: Tensor, batch: Any) -> Tensor:
        """Return the loss, a scalar in float32."""
        return self.loss(cast(nn.Module, _HalfGATE(cast(GATE, model))), weights, batch)


class _HalfGATE:
    """A stand-in for GATE that a loss can call: its networks run under autocast."""

    def __init__(self, gate: GATE) -> None:
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._gate, name)
        return _autocast(found, next(self._gate.parameters()).device.type) if name in _NETWORKS else found


def _autocast(network: Callable[[Any], Tensor], device: str) -> Callable[[Any], Tensor]:
    def run(x: Any) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            return network(x).float()

    return run
