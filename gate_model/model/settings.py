"""Sizes of the network."""

from dataclasses import dataclass

__all__ = ["NetworkSettings"]


@dataclass(frozen=True)
class NetworkSettings:
    """What `gate_model.model.network.build_gate` builds. The paper prints none of these: all are our own choice."""

    embedding: str = "fingerprint"
    """Name of the embedding, see `gate_model.model.embeddings`."""
    embedding_hidden: int = 512
    """Width of the fingerprint MLP's hidden layer, or of a bond's message."""
    depth: int = 3
    """Rounds of message passing; only embeddings that read graphs use it."""
    d: int = 128
    """Width of the embedding z."""
    k: int = 32
    """Width of every task manifold and of M."""
    hidden: int = 64
    """Hidden width of the encoders."""
    dropout: float = 0.0
    """Share of the embedding's hidden units dropped in training."""
