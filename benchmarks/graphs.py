"""How much faster than chemprop are molecule graphs and the directed message-passing network here?

Same molecules, same architecture (hidden 300, depth 3, mean over atoms, ReLU, no dropout) with the same weights, both
in plain PyTorch loops without Lightning, in one process, in turn; the order changes from repeat to repeat.

- `message_passing`: forward and backward from a ready batch to the molecules' features.
- `epoch`: batch making, forward, backward, AdamW, with one linear layer on top. chemprop with its own data loader and
  collation in the same process, on graphs that it has cached; ours by indexing packed graphs.
- `featurisation_parsed`: chemprop's Python featuriser on parsed molecules; from ours the parsing is taken off.
- `featurisation`: from SMILES, one process each; ours includes the search for surroundings that look alike.
- `featurisation_cores`: the same, ours in one process per core (without that search), all started before the clock.

The outputs for the same weights are compared first. Needs chemprop (`pip install 'bilevel-hpo[gate,peers]'`). The
last line is JSON; ratios are chemprop's median time / ours.
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from rdkit import Chem
from torch import Tensor, nn

from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.molecules.atoms_and_bonds import molecule_graphs
from gate_model.data.molecules.graphs import pack
from gate_model.model.message_passing import DirectedMPNN

HIDDEN, DEPTH = 300, 3
KINDS = ("message_passing", "epoch", "featurisation", "featurisation_parsed")


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Chemprop(nn.Module):
    """chemprop's message passing and mean, with a linear layer; starts with the weights of ours."""

    def __init__(self, chemprop: Any, ours: DirectedMPNN) -> None:
        super().__init__()
        self.messages = chemprop.nn.BondMessagePassing(d_h=HIDDEN, depth=DEPTH)
        self.mean, self.head = chemprop.nn.MeanAggregation(), nn.Linear(HIDDEN, ours.W_z.out_features)
        for name in ("W_i", "W_h", "W_o"):
            getattr(self.messages, name).load_state_dict(getattr(ours, name).state_dict())
        self.head.load_state_dict(ours.W_z.state_dict())

    def read_out(self, graphs: Any) -> Tensor:
        features: Tensor = self.mean(self.messages(graphs), graphs.batch)
        return features

    def forward(self, graphs: Any) -> Tensor:
        z: Tensor = self.head(self.read_out(graphs))
        return z


def train(model: nn.Module, batches: Any) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()


def fresh_pack(smiles: list[str]) -> None:
    """`pack` with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("GATE_CACHE")
        os.environ["GATE_CACHE"] = folder
        pack(smiles, depth=DEPTH)
        os.environ.pop("GATE_CACHE") if before is None else os.environ.update(GATE_CACHE=before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=4000, help="molecules with a melting point (default 4000)")
    parser.add_argument("--batch", type=int, default=256, help="molecules per batch (default 256)")
    parser.add_argument("--repeats", type=int, default=5, help="timed repeats of each kind (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    args = parser.parse_args()
    import chemprop  # noqa: PLC0415  # worker processes need not import it

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    smiles = random.Random(0).sample(load_chemicals(["MP"]).smiles, args.molecules)
    labels = torch.randn(len(smiles), 1)
    packed = pack(smiles, depth=DEPTH)
    parsed = [Chem.MolFromSmiles(one) for one in smiles]
    featurise = chemprop.featurizers.SimpleMoleculeMolGraphFeaturizer()
    points = [chemprop.data.MoleculeDatapoint(mol, y.numpy()) for mol, y in zip(parsed, labels, strict=True)]
    dataset = chemprop.data.MoleculeDataset(points, featurise)
    dataset.cache = True

    ours = DirectedMPNN(d=1, hidden=HIDDEN, depth=DEPTH)
    theirs = Chemprop(chemprop, ours)
    rows = torch.randperm(len(smiles))[: args.batch]
    batch, graphs = packed[rows], chemprop.data.BatchMolGraph([dataset[i].mg for i in rows.tolist()])
    apart = (ours.read_out(batch) - theirs.read_out(graphs)).abs().max().item()
    if apart > 1e-5:
        raise SystemExit(f"the outputs differ by {apart:.1e}")

    def our_batches() -> Any:
        return ((packed[part], labels[part]) for part in torch.randperm(len(smiles)).split(args.batch))

    def their_batches() -> Any:
        loader = chemprop.data.build_dataloader(dataset, batch_size=args.batch)
        return ((part.bmg, part.Y) for part in loader)

    work: dict[str, Callable[[], Any]] = {
        "message_passing, ours": lambda: ours.read_out(batch).square().mean().backward(),
        "message_passing, chemprop": lambda: theirs.read_out(graphs).square().mean().backward(),
        "epoch, ours": lambda: train(ours, our_batches()),
        "epoch, chemprop": lambda: train(theirs, their_batches()),
        "parsing": lambda: [Chem.MolFromSmiles(one) for one in smiles],
        "featurisation, ours": lambda: fresh_pack(smiles),
        "featurisation, ours on all cores": lambda: pool.map(molecule_graphs, shares),
        "featurisation, chemprop": lambda: [featurise(chemprop.utils.make_mol(one)) for one in smiles],
        "featurisation_parsed, ours": lambda: molecule_graphs(smiles),
        "featurisation_parsed, chemprop": lambda: [featurise(molecule) for molecule in parsed],
    }
    cores = os.cpu_count() or 1
    shares = [smiles[start::cores] for start in range(cores)]
    times: dict[str, list[float]] = {name: [] for name in work}
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(molecule_graphs, [["C"]] * cores)
        for repeat in range(args.repeats + 1):  # the first is not counted
            for name in list(work) if repeat % 2 else list(reversed(work)):
                taken = timed(work[name])
                if repeat:
                    times[name].append(taken)
    seconds = {name: statistics.median(taken) for name, taken in times.items()}
    seconds["featurisation_parsed, ours"] -= seconds["parsing"]
    for name, taken in times.items():
        print(f"{name}: {seconds[name]:.4f} s ({min(taken):.4f} to {max(taken):.4f} timed)")
    ratios = {name: seconds[f"{name}, chemprop"] / seconds[f"{name}, ours"] for name in KINDS}
    ratios["featurisation_cores"] = seconds["featurisation, chemprop"] / seconds["featurisation, ours on all cores"]
    result = {
        "benchmark": "graphs",
        "ratio": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "seconds": {name: round(median, 5) for name, median in seconds.items()},
        "output_difference": float(f"{apart:.1e}"),
        "computed_share": {
            "bonds": [round(n / len(graphs.E), 3) for n in (len(batch.bonds), *(len(s.kinds) for s in batch.steps))],
            "atoms": round(len(batch.atoms.kinds) / len(graphs.V), 3),
        },
        "molecules": len(smiles),
        "batch": args.batch,
        "repeats": args.repeats,
        "threads": args.threads,
        "cores": cores,
        "versions": {name: version(name) for name in ("torch", "chemprop", "rdkit")},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
