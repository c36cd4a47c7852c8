"""The hyperparameters of a training. The paper prints none of them: all are our own choice."""

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
    """Number of passes over the training molecules."""
    batch_size: int = 256
    """Molecules per batch."""
    lr: float = 2e-3
    """The highest learning rate of the schedule."""
    schedule: Schedule = "cosine"
    """How the learning rate changes, see `gate_model.training.schedules`."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""
    patience: int | None = None
    """Stop after this many epochs without a better RMSE on the selection molecules, and keep the best model; None:
    train all epochs and keep the last model."""
    precision: Precision = "float32"
    """Number format of the networks, see `gate_model.training.precision`."""
    exchange: float = 0.2
    """Share of the validation molecules that are exchanged for training molecules between epochs, 0 to 1."""
    threshold: float = 0.0
    """Paths with a smaller λ are left out of the inner steps, see `ActivePairs`."""
    top_k: int | None = None
    """Largest number of sources per target in an inner step; None: all."""
    rotation: int = 10
    """A path that is left out of the inner steps is computed in every `rotation`-th outer step."""
    geometry_share: float = 0.25
    """Share of a batch on which the geometric terms are evaluated, see `TrainLoss`."""
    relative_losses: bool = True
    """Use the logarithms of the losses, see `TrainLoss`; False: the losses as the paper prints them."""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    """The sizes of the network, and the name of its embedding."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Settings":
        """Return the settings from which `dataclasses.asdict` made `values`."""
        return cls(**{**values, "network": NetworkSettings(**values["network"])})


def settings_for(embedding: str) -> Settings:
    """Return the default settings for this embedding; an embedding of your own gets those of "fingerprint"."""
    if embedding == "graph":
        return Settings(lr=1e-3, network=NetworkSettings(embedding="graph", embedding_hidden=300, dropout=0.1))
    return Settings(network=NetworkSettings(embedding=embedding))
