"""From the batch's `x` to the embedding z shared by all tasks.

Any `nn.Module` that maps `Batch.x` to `[B, d]` can be given to `GATE` as its embedding.
"""

from torch import Tensor, nn

__all__ = ["FeatureMLP"]


class FeatureMLP(nn.Module):
    """Molecular features to z by one hidden layer with SiLU and dropout.

    Args:
        n_features: F, width of a feature row.
        hidden: width of the hidden layer.
        d: width of z.
        dropout: share of hidden units dropped in training mode.
    """

    def __init__(self, n_features: int, hidden: int = 256, d: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, d))

    def forward(self, x: Tensor) -> Tensor:
        """Features `[B, F]` to z `[B, d]`."""
        z: Tensor = self.layers(x)
        return z
