"""The embeddings that GATE can be built with, by name. Add your own with `register`."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from gate_model.data.inputs import Reads
from gate_model.model.feature_mlp import FeatureMLP
from gate_model.model.message_passing import DirectedMPNN
from gate_model.model.settings import NetworkSettings

__all__ = ["Build", "Embedding", "embedding_named", "names", "register"]

Build = Callable[[int, NetworkSettings], nn.Module]
"""A function (F, sizes) ↦ a module that maps its inputs to z `[B, d]`."""


@dataclass(frozen=True)
class Embedding:
    """A kind of embedding: the inputs that it reads, and the function that builds it."""

    reads: Reads
    build: Build


_EMBEDDINGS: dict[str, Embedding] = {}


def register(name: str, *, reads: Reads) -> Callable[[Build], Build]:
    """Register a function as an embedding that `NetworkSettings(embedding=name)` builds; use it as a decorator.

    A saved model stores the name, not the code: register the embedding before you load a model that uses it.

    Args:
        name: a name that no other embedding has.
        reads: the inputs of the module: "features" or "graphs".

    Raises:
        ValueError: the name is taken, or `reads` is neither "features" nor "graphs".
    """
    if reads not in ("features", "graphs"):
        raise ValueError(f"reads={reads!r}: it must be 'features' or 'graphs'")
    if name in _EMBEDDINGS:
        raise ValueError(f"an embedding called {name!r} is registered already")

    def add(build: Build) -> Build:
        _EMBEDDINGS[name] = Embedding(reads, build)
        return build

    return add


def embedding_named(name: str) -> Embedding:
    """Return the embedding of this name.

    Raises:
        ValueError: there is no embedding of this name; the message lists the known names.
    """
    if name not in _EMBEDDINGS:
        raise ValueError(
            f"no embedding is called {name!r}; known are {', '.join(names())}. An embedding of your own must be "
            "registered first (gate_model.model.embeddings.register)"
        )
    return _EMBEDDINGS[name]


def names() -> tuple[str, ...]:
    """Return all registered names."""
    return tuple(_EMBEDDINGS)


@register("fingerprint", reads="features")
def _fingerprint(n_features: int, network: NetworkSettings) -> nn.Module:
    return FeatureMLP(n_features, hidden=network.embedding_hidden, d=network.d, dropout=network.dropout)


@register("graph", reads="graphs")
def _graph(n_features: int, network: NetworkSettings) -> nn.Module:
    return DirectedMPNN(
        hidden=network.embedding_hidden,
        depth=network.depth,
        d=network.d,
        dropout=network.dropout,
        n_descriptors=n_features,
    )
