"""The embedding that reads rows of features, such as fingerprints and descriptors.

`GATE` accepts any `nn.Module` that maps `Batch.x` to z `[B, d]` as its embedding.
"""

from torch import Tensor, nn

__all__ = ["FeatureMLP"]


class FeatureMLP(nn.Module):
    """Maps molecular features to z through one hidden layer with SiLU and dropout.

    Args:
        n_features: F, width of a row of features.
        hidden: width of the hidden layer.
        d: width of z.
        dropout: share of the hidden units that is dropped in training mode, 0 to 1.
    """

    def __init__(self, n_features: int, hidden: int = 256, d: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, d))

    def forward(self, x: Tensor) -> Tensor:
        """Map features `[B, F]` to z `[B, d]`."""
        z: Tensor = self.layers(x)
        return z
