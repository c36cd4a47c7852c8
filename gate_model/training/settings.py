"""Hyperparameters of a training. The paper prints none of them: all are our own choice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gate_model.model.settings import NetworkSettings

__all__ = ["Precision", "Schedule", "Settings", "settings_for"]

Schedule = Literal["cosine", "one-cycle"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Settings:
    """How one network is trained."""

    epochs: int = 30
    batch_size: int = 256
    lr: float = 2e-3
    """The highest learning rate of the schedule."""
    schedule: Schedule = "cosine"
    weight_decay: float = 1e-4
    patience: int | None = None
    """Stop after that many epochs without a better RMSE on the selection molecules, and keep the best model; None:
    train all epochs and keep the last."""
    precision: Precision = "float32"
    exchange: float = 0.2
    """Share of the validation molecules that changes place with train molecules between epochs."""
    threshold: float = 0.0
    """Paths with a smaller λ are left out of the inner steps, see `ActivePairs`."""
    top_k: int | None = None
    """Most sources per target in an inner step; None: all."""
    rotation: int = 10
    """A path that is left out takes part in one of so many outer steps."""
    geometry_share: float = 0.25
    """Share of a batch on which the geometric terms are evaluated, see `TrainLoss`."""
    relative_losses: bool = True
    """Losses enter as logarithms, see `TrainLoss`; False: as the paper prints them."""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    """Sizes of the network that is trained."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Settings":
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**values, "network": NetworkSettings(**values["network"])})


def settings_for(embedding: str) -> Settings:
    """What `gate learn` starts from with this embedding; those of "fingerprint" for one of a user's own."""
    if embedding == "graph":
        return Settings(lr=1e-3, network=NetworkSettings(embedding="graph", embedding_hidden=300, dropout=0.1))
    return Settings(network=NetworkSettings(embedding=embedding))
