"""How far off a prediction may be: from the disagreement of several models, or of the paths through M.

Shapes: B molecules, T tasks, E members of an ensemble. Everything is in standardised units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gate_model.data.batches import Inputs
from gate_model.model.evaluation import evaluated, predict
from gate_model.model.gate import GATE

__all__ = ["Kind", "Spread", "calibrate", "member_spread", "path_spread", "transferred"]

Kind = Literal["members", "paths"]

Array = NDArray[np.float64]

_SHARES = np.linspace(0, 1, 21)
_SMALLEST = 1e-6


def transferred(model: GATE, x: Inputs, batch_size: int = 256) -> Array:
    """ŷ_{s→t} = h_t(ψ_t(φ_s(encoder_s(z)))) in eval mode: `[B, T targets, S sources]`.

    On the diagonal stands the path of a task through M and back, not the direct one.
    """
    n_tasks = model.n_tasks

    def paths(batch: Any) -> Tensor:
        m = model.to_manifold(model.encode(model.embed(batch)))
        points = m.reshape(1, -1, m.shape[2]).expand(n_tasks, -1, -1)
        return model.regress(model.from_manifold(points)).view(n_tasks, n_tasks, -1).permute(2, 0, 1)

    return evaluated(model, paths, x, batch_size)


def path_spread(direct: Array, paths: Array) -> Array:
    """Root mean square over s ≠ t of ŷ_{s→t} − ŷ_t: `[B, T]` from `[B, T]` and `[B, T, S]`; 0 for one task."""
    squared = (paths - direct[:, :, None]) ** 2
    n_tasks = direct.shape[1]
    others = squared.sum(2) - np.diagonal(squared, axis1=1, axis2=2)
    return np.asarray(np.sqrt(others.clip(0) / max(n_tasks - 1, 1)))


def member_spread(predictions: Array) -> Array:
    """Standard deviation over at least two members: `[B, T]` from `[E, B, T]`."""
    return np.asarray(predictions.std(axis=0, ddof=1))


def calibrate(spread: Array, errors: Array) -> tuple[float, float]:
    """(a, b) of σ² = a·spread² + b by maximum likelihood of normal errors, a, b ≥ 0, for the molecules of one task.

    Searched over the share of b in the mean σ², in steps of 5 %; the rest follows in closed form. A spread that says
    nothing about the errors gets a = 0 and b = the mean squared error.

    Args:
        spread: `[n]`.
        errors: `[n]`.
    """
    squared = spread**2
    mean = float(squared.mean())
    if mean <= _SMALLEST**2:
        return 0.0, float((errors**2).mean())
    shapes = (1 - _SHARES[:, None]) * squared / mean + _SHARES[:, None] + _SMALLEST
    sizes = (errors**2 / shapes).mean(1)
    best = int((np.log(sizes[:, None] * shapes + _SMALLEST**2)).mean(1).argmin())
    share, size = float(_SHARES[best]), float(sizes[best])
    return size * (1 - share) / mean, size * (share + _SMALLEST)


@dataclass(frozen=True)
class Spread:
    """σ `[B, T]` from a disagreement: σ² = slope·disagreement² + floor, per task."""

    kind: Kind
    """Of several members, or, where there is only one, of the transferred paths and the direct one."""
    slope: tuple[float, ...]
    floor: tuple[float, ...]

    @classmethod
    def calibrated(cls, members: Sequence[GATE], x: Inputs, labels: Array) -> "Spread":
        """From molecules that no member was trained on: features `[n, F]`, standardised labels `[n, T]`, NaN = none."""
        kind: Kind = "members" if len(members) > 1 else "paths"
        mean, spread = _disagreement(kind, members, x)
        fits = []
        for column in range(labels.shape[1]):
            known = np.isfinite(labels[:, column])
            fits.append(calibrate(spread[known, column], mean[known, column] - labels[known, column]))
        return cls(kind, tuple(a for a, _ in fits), tuple(b for _, b in fits))

    def predict(self, members: Sequence[GATE], x: Inputs) -> tuple[Array, Array]:
        """Mean over the members of the direct predictions, and σ, each `[B, T]`."""
        mean, spread = _disagreement(self.kind, members, x)
        return mean, np.sqrt(np.array(self.slope) * spread**2 + np.array(self.floor))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": self.kind, "slope": list(self.slope), "floor": list(self.floor)}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> "Spread":
        """Inverse of `to_dict`."""
        return cls(facts["kind"], tuple(facts["slope"]), tuple(facts["floor"]))


def _disagreement(kind: Kind, members: Sequence[GATE], x: Inputs) -> tuple[Array, Array]:
    predictions = np.stack([predict(member, x) for member in members])
    if kind == "members":
        return predictions.mean(0), member_spread(predictions)
    return predictions[0], path_spread(predictions[0], transferred(members[0], x))
