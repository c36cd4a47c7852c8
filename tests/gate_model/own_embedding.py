"""An embedding of a user's own, as a module that is named on the command line."""

from torch import nn

from gate_model import NetworkSettings, register_embedding

__all__ = ["linear"]


@register_embedding("own-linear", reads="features")
def linear(n_features: int, network: NetworkSettings) -> nn.Module:
    """One layer."""
    return nn.Linear(n_features, network.d)


def not_registered(n_features: int, network: NetworkSettings) -> nn.Module:
    """No embedding: the decorator is missing."""
    return nn.Linear(n_features, network.d)
