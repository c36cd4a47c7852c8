"""GATE of given sizes."""

from gate_model.model.embeddings import embedding_named
from gate_model.model.gate import GATE
from gate_model.model.settings import NetworkSettings

__all__ = ["build_gate"]


def build_gate(n_features: int, n_tasks: int, network: NetworkSettings) -> GATE:
    """GATE with random weights drawn from torch's global generator.

    Args:
        n_features: F, features of a molecule beside its graph (`Featurizer.width`).
        n_tasks: T.
        network: sizes, and the name of the embedding.
    """
    embedding = embedding_named(network.embedding).build(n_features, network)
    return GATE(embedding, n_tasks, d=network.d, k=network.k, hidden=network.hidden)
