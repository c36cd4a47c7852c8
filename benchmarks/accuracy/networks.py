"""Networks of many kinds, each with inputs that can be indexed by example."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gate_model.data.molecules.graphs import pack
from gate_model.model.feature_mlp import FeatureMLP
from gate_model.model.gate import GATE
from gate_model.model.message_passing import DirectedMPNN

__all__ = ["NETWORKS", "Network", "cut"]

FEATURES, TASKS, EXAMPLES = 64, 4, 512
WORDS, LENGTH = 40, 12
SIDE = 8
KINDS = 9
"""Kinds of nodes in the random graphs; the last ones are rare."""


@dataclass(frozen=True)
class Network:
    """A network to train, and where."""

    build: Callable[[], nn.Module]
    inputs: Callable[[], Any]
    """`EXAMPLES` inputs, indexed by a tensor of rows; drawn from torch's generator."""
    last: int
    """The largest number of steps after which it is looked at."""
    gate_tasks: int = 0
    """T of a `GATE`, which has losses of its own; 0 for others."""


def features() -> Tensor:
    return torch.randn(EXAMPLES, FEATURES)


def mlp(activation: type[nn.Module], *widths: int, norm: type[nn.Module] | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in zip((FEATURES, *widths), widths, strict=False):
        layers += [nn.Linear(n_in, n_out), *([] if norm is None else [norm(n_out)]), activation()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], TASKS))


def convolution() -> nn.Module:
    blocks = [
        layer
        for n_in, n_out in ((1, 8), (8, 16))
        for layer in (nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2))
    ]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(16 * (SIDE // 4) ** 2, TASKS))


class Recurrent(nn.Module):
    """Words to the last state of a GRU. Rare words are missing in most batches."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(WORDS, 24), nn.GRU(24, 32, batch_first=True)
        self.head = nn.Linear(32, TASKS)

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.gru(self.embedding(words))
        return self.head(states[:, -1])


class Transformer(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, TASKS)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(words)).mean(1))


def words() -> Tensor:
    return (WORDS * torch.rand(EXAMPLES, LENGTH).square()).long()


class Graphs(NamedTuple):
    """Random graphs, of which those with the numbers `rows` make a batch."""

    kinds: Tensor
    """Kind of each node `[V]`."""
    edges: Tensor
    """Pairs of nodes `[E, 2]`."""
    graph: Tensor
    """Graph of each node `[V]`."""
    size: int

    def batch(self, rows: Tensor) -> "Graphs":
        """The graphs `rows`, in that order; each at most once."""
        place = torch.full((self.size,), -1)
        place[rows] = torch.arange(len(rows))
        nodes = (place[self.graph] >= 0).nonzero()[:, 0]
        number = torch.full((len(self.kinds),), -1)
        number[nodes] = torch.arange(len(nodes))
        edges = number[self.edges]
        return Graphs(self.kinds[nodes], edges[edges[:, 0] >= 0], place[self.graph[nodes]], len(rows))


def graphs() -> Graphs:
    sizes = torch.randint(6, 15, (EXAMPLES,)).tolist()
    first, edges = 0, []
    for n in sizes:
        tree = [(i, int(torch.randint(i, ()))) for i in range(1, n)]
        pairs = torch.tensor([*tree, (0, n - 1)]) + first
        edges.append(torch.cat([pairs, pairs.flip(1)]))
        first += n
    kinds = (KINDS * torch.rand(first).pow(3)).long()
    return Graphs(kinds, torch.cat(edges), torch.repeat_interleave(torch.tensor(sizes)), EXAMPLES)


class GIN(nn.Module):
    """Sums over neighbours, each followed by Linear-BatchNorm-ReLU-Linear-ReLU; the input is one-hot."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(n, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            for n in (KINDS, width, width)
        )
        self.head = nn.Linear(width, TASKS)

    def forward(self, batch: Graphs) -> Tensor:
        h = nn.functional.one_hot(batch.kinds, KINDS).to(self.head.weight.dtype)
        for layer in self.layers:
            h = layer(h.index_add(0, batch.edges[:, 1], h[batch.edges[:, 0]]))
        total = h.new_zeros(batch.size, h.shape[1]).index_add(0, batch.graph, h)
        return self.head(total / 10)


def molecules() -> Any:
    """Molecules made of fragments, some of them rare, as packed graphs."""
    common, rare = (
        ["C", "CC", "O", "N", "C(=O)", "c1ccc(cc1)", "C(C)"],
        ["S", "C(F)", "C(Cl)", "C#C", "C(Br)", "c1ccsc1"],
    )
    draw = random.Random(int(torch.randint(1 << 30, ())))
    smiles = [
        "C" + "".join(draw.choice(rare if draw.random() < 0.05 else common) for _ in range(draw.randint(3, 8)))
        for _ in range(EXAMPLES)
    ]
    return pack(smiles, depth=3, keep=False)


def message_passing() -> nn.Module:
    return nn.Sequential(DirectedMPNN(d=64, hidden=64), nn.ReLU(), nn.Linear(64, TASKS))


def gate(n_tasks: int) -> nn.Module:
    return GATE(FeatureMLP(FEATURES, hidden=96, d=48), n_tasks, d=48, k=24, hidden=24)


def cut(inputs: Any, rows: Tensor) -> Any:
    """The inputs of the examples `rows`."""
    return inputs.batch(rows) if isinstance(inputs, Graphs) else inputs[rows]


NETWORKS: dict[str, Network] = {
    "ReLU": Network(lambda: mlp(nn.ReLU, 256, 256), features, 1000),
    "LayerNorm-GELU": Network(lambda: mlp(nn.GELU, 128, 128, norm=nn.LayerNorm), features, 1000),
    "SiLU": Network(lambda: mlp(nn.SiLU, 128, 128), features, 1000),
    "6 × LayerNorm-tanh": Network(lambda: mlp(nn.Tanh, *[64] * 6, norm=nn.LayerNorm), features, 1000),
    "Linear-BatchNorm-ReLU": Network(lambda: mlp(nn.ReLU, 128, 128, norm=nn.BatchNorm1d), features, 1000),
    "Conv-BatchNorm-ReLU": Network(convolution, lambda: torch.randn(EXAMPLES, 1, SIDE, SIDE), 1000),
    "Embedding-GRU": Network(Recurrent, words, 400),
    "Transformer": Network(lambda: Transformer(0.0), words, 400),
    "Transformer, dropout": Network(lambda: Transformer(0.1), words, 400),
    "D-MPNN": Network(message_passing, molecules, 400),
    "GIN-BatchNorm": Network(GIN, graphs, 400),
    "GATE, 3 tasks": Network(lambda: gate(3), features, 1000, gate_tasks=3),
    "GATE, 28 tasks": Network(lambda: gate(28), features, 150, gate_tasks=28),
}
