"""Training in bfloat16: the networks under autocast, the losses in float32."""

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
    """`loss` as it is, or with the networks in bfloat16; ValueError for anything else."""
    if precision == "float32":
        return loss
    if precision == "bfloat16":
        return HalfPrecision(loss)
    raise ValueError(f"precision={precision!r}: it must be 'float32' or 'bfloat16'")


@dataclass(frozen=True)
class HalfPrecision:
    """(model, λ, batch) ↦ `loss` with GATE's networks under bfloat16 autocast, their outputs back in float32.

    Errors, means and the mapping losses, which multiply weights on their own, are computed in float32. Parameters and
    optimizer stay in float32; bfloat16 needs no gradient scaler.
    """

    loss: Loss

    def __call__(self, model: nn.Module, weights: Tensor, batch: Any) -> Tensor:
        """A scalar, float32."""
        return self.loss(cast(nn.Module, _HalfGATE(cast(GATE, model))), weights, batch)


class _HalfGATE:
    """GATE as a loss sees it."""

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
