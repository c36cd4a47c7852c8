"""Build GATE from its settings."""

from gate_model.model.embeddings import embedding_named
from gate_model.model.gate import GATE
from gate_model.model.settings import NetworkSettings

__all__ = ["build_gate"]


def build_gate(n_features: int, n_tasks: int, network: NetworkSettings) -> GATE:
    """Return GATE with random weights, drawn from torch's global generator.

    Args:
        n_features: F, number of features of a molecule besides its graph (`Featurizer.width`).
        n_tasks: T.
        network: the sizes, and the name of the embedding.

    Raises:
        ValueError: no embedding has this name.
    """
    embedding = embedding_named(network.embedding).build(n_features, network)
    return GATE(embedding, n_tasks, d=network.d, k=network.k, hidden=network.hidden)
