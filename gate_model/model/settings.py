"""The sizes of the network."""

from dataclasses import dataclass

__all__ = ["NetworkSettings"]


@dataclass(frozen=True)
class NetworkSettings:
    """The sizes of GATE, for `gate_model.model.network.build_gate`. The paper prints none: all are our own choice."""

    embedding: str = "fingerprint"
    """Name of the embedding, see `gate_model.model.embeddings`."""
    embedding_hidden: int = 512
    """Width of the hidden layer ("fingerprint"), or of the states of bonds and atoms ("graph")."""
    depth: int = 3
    """Rounds of message passing, with the first state; only embeddings that read graphs use it."""
    d: int = 128
    """Width of the embedding z."""
    k: int = 32
    """Width of every task manifold and of M."""
    hidden: int = 64
    """Hidden width of the encoders."""
    dropout: float = 0.0
    """Share of the embedding's hidden units that is dropped during training, 0 to 1."""
