"""Why does the way through the shared manifold M lose accuracy, and which network mends it?

Trains variants of GATE on the nine tasks from `chemicals` (molecules with at least three labels) and reports, per
variant, the RMSE of three ways of predicting, mean over tasks and seeds: the direct path; the transferred paths alone
(mean over sources s ≠ t of ŷ_{s→t}); the direct path with a quarter of the transferred ones mixed in. Each for the
selection molecules, on which variants are to be chosen, and for the test molecules. Each seed has its own split.

Every training is one line of `--out`; those that are there already are not trained again. The last line printed is
JSON.
"""

import argparse
import json
import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gate_model.data.batches import Batch
from gate_model.data.chemicals.table import load_chemicals
from gate_model.data.prepared import PreparedData, prepare
from gate_model.model.evaluation import predict, rmse
from gate_model.model.feature_mlp import FeatureMLP
from gate_model.model.gate import GATE
from gate_model.model.losses import DirectPathLoss, TrainLoss, autoencoder, consistency, distance
from gate_model.model.modules import StackedMLP
from gate_model.model.settings import NetworkSettings
from gate_model.predictor.uncertainty import transferred
from gate_model.training import train as training
from gate_model.training.methods import LEARNED, Losses, Method, constant
from gate_model.training.settings import Settings

TASKS = "DS,HV,BP,MP,RI,CT,CTP,CTV,HVC"
MIXED = 0.25


@dataclass(frozen=True)
class Variant:
    """What differs from plain perceptrons φ and ψ."""

    about: str
    k: int = 32
    hidden: int = 64
    widths: tuple[float, ...] = (1,)
    """Hidden widths of φ and ψ in units of k; empty for affine maps."""
    skip: bool = False
    """φ(x) = x + MLP(x), and ψ likewise."""
    identity: bool = True
    """With a skip connection: the last layers start at 0, so that both maps start as the identity."""
    gain: float = 1.0
    """The weights of φ and ψ are drawn this much larger."""
    gain_outside: float = 1.0
    """Likewise those of encoders and heads."""
    maps: bool = True
    """False: φ and ψ are the identity and stay so. All encoders then lead straight to M: the control."""
    through: bool = False
    """The direct path goes through M too: ŷ_t = h_t(ψ_t(φ_t(z_t)))."""
    alpha: float = 1.0
    beta: float = 0.03
    delta: float = 0.03


VARIANTS = {
    "plain": Variant("φ, ψ perceptrons drawn as all others"),
    "k=64": Variant("wider manifolds", k=64),
    "k=128": Variant("wider still", k=128),
    "hidden=128": Variant("wider encoders", hidden=128),
    "wide maps": Variant("φ, ψ with a hidden layer of 4k", widths=(4,)),
    "deep maps": Variant("φ, ψ with two hidden layers", widths=(1, 1)),
    "affine maps": Variant("φ, ψ without a hidden layer", widths=()),
    "skip": Variant("φ, ψ with a skip connection, identity at the start: GATE as it is", skip=True),
    "alpha=0.1": Variant("a weaker autoencoder", alpha=0.1),
    "alpha=10": Variant("a stronger autoencoder", alpha=10),
    "geometry=0.3": Variant("β = δ = 0.3", beta=0.3, delta=0.3),
    "geometry=1": Variant("β = δ = 1", beta=1, delta=1),
    "through M": Variant("h sees points that came through M, always", through=True),
    "skip, k=64": Variant("both", k=64, skip=True),
    "skip, geometry=0.3": Variant("both", skip=True, beta=0.3, delta=0.3),
    "skip, through M": Variant("both", skip=True, through=True),
    "skip, drawn": Variant("a skip connection, but last layers drawn as any other", skip=True, identity=False),
    "skip, affine maps": Variant("both", widths=(), skip=True),
    "skip, alpha=10": Variant("both", skip=True, alpha=10),
    "louder maps": Variant("φ, ψ drawn so that they keep the size of what comes in", gain=2.0),
    "louder networks": Variant("encoders and heads too", gain=2.0, gain_outside=2.0),
    "skip, louder networks": Variant("both", skip=True, gain=2.0, gain_outside=2.0),
    "no maps": Variant("φ and ψ are the identity", maps=False),
}


class VariantGATE(GATE):
    """GATE with other maps φ and ψ."""

    def __init__(self, embedding: nn.Module, n_tasks: int, d: int, variant: Variant) -> None:
        super().__init__(embedding, n_tasks, d, variant.k, variant.hidden)
        k = variant.k
        widths = (k, *(int(k * width) for width in variant.widths), k)
        self.phi, self.psi, self.variant = StackedMLP(n_tasks, widths), StackedMLP(n_tasks, widths), variant
        gains = {self.phi: variant.gain, self.psi: variant.gain}
        gains |= {self.encoder: variant.gain_outside, self.head: variant.gain_outside}
        with torch.no_grad():
            for network, gain in gains.items():
                for parameter in network.parameters():
                    parameter.mul_(gain)
        if variant.skip and variant.identity:
            for network in (self.phi, self.psi):
                last = cast(Any, network.layers[-1])
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def to_manifold(self, z_t: Tensor) -> Tensor:
        return self._mapped(self.phi, z_t)

    def from_manifold(self, m: Tensor) -> Tensor:
        return self._mapped(self.psi, m)

    def _mapped(self, network: nn.Module, x: Tensor) -> Tensor:
        if not self.variant.maps:
            return x
        return x + network(x) if self.variant.skip else cast(Tensor, network(x))

    def forward(self, x: Any) -> Tensor:
        z_t = self.encode(self.embed(x))
        return self.regress(self.from_manifold(self.to_manifold(z_t)) if self.variant.through else z_t).T


@dataclass(frozen=True)
class PlainLoss(TrainLoss):
    """`TrainLoss` by plain operations on all pairs, for any φ and ψ."""

    variant: Variant = field(default_factory=lambda: VARIANTS["plain"])

    def __call__(self, model: nn.Module, weights: Tensor, batch: Batch, pairs: Tensor | None = None) -> Tensor:
        gate = cast(VariantGATE, model)
        z, z_t, m, paths = self._all_paths(gate, weights, batch, pairs)
        share = 1 / (gate.n_tasks - 1)
        total = paths + self.alpha * autoencoder(gate, z_t, m) + self.beta * share * consistency(m)
        return total + self.delta * share * distance(gate, z, m, self.perturbations, self.epsilon)

    def lambda_terms(self, model: nn.Module, weights: Tensor, batch: Batch, pairs: Tensor | None = None) -> Tensor:
        return self._all_paths(cast(VariantGATE, model), weights, batch, pairs)[3]

    def _all_paths(
        self, gate: VariantGATE, weights: Tensor, batch: Batch, pairs: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        n_tasks = gate.n_tasks
        if pairs is not None:
            weights = weights * (pairs | torch.eye(n_tasks, dtype=torch.bool))
        z = gate.embed(batch.x)
        z_t = gate.encode(z)
        m = gate.to_manifold(z_t)
        points = m.reshape(1, -1, m.shape[2]).expand(n_tasks, -1, -1)
        y = gate.regress(gate.from_manifold(points)).view(n_tasks, n_tasks, -1)
        if not self.variant.through:
            own = torch.eye(n_tasks, dtype=torch.bool)[:, :, None]
            y = torch.where(own, gate.regress(z_t)[:, None, :], y)
        mask = batch.mask.T[:, None, :]
        errors = torch.where(mask, y - batch.y.T[:, None, :], 0).square().sum(2) / mask.sum(2).clamp_min(1)
        share = 1 / (n_tasks - 1) if self.mapping == "mean" else 1.0
        c = torch.eye(n_tasks) + share * (1 - torch.eye(n_tasks))
        return z, z_t, m, (c * weights * errors).sum()


@dataclass(frozen=True)
class DirectLoss(DirectPathLoss):
    """Σ_t of the direct paths' MSE."""

    def __call__(self, model: nn.Module, weights: Tensor, batch: Batch) -> Tensor:
        squared = torch.where(batch.mask, model(batch.x) - batch.y, 0).square()
        return (squared.sum(0) / batch.mask.sum(0).clamp_min(1)).sum()


SETTINGS = Settings(
    lr=4e-3,
    geometry_share=1.0,
    relative_losses=False,
    network=NetworkSettings(embedding_hidden=128, d=64, dropout=0.1),
)
"""Those at which docs/gate.md measured them; `gate learn` has others since."""


def method_of(lambda_: str, variant: Variant) -> Method:
    """λ constant or on a budget, with the losses of the variant."""
    loss = PlainLoss(alpha=variant.alpha, beta=variant.beta, delta=variant.delta, variant=variant)
    if lambda_ == "budget":
        budget = LEARNED["budget"].learning_with(outer_lr=0.05, outer_every=4, warm_up=0.0)
        return replace(budget, losses=Losses(replace(loss, mapping="sum", geometry="mean"), DirectLoss()))
    return constant(f"lambda={lambda_}", "", float(lambda_), Losses(loss))


def run(data: PreparedData, variant: Variant, lambda_: str, seed: int, epochs: int) -> dict[str, Any]:
    """RMSE per task of the three ways of predicting, for selection and test molecules."""

    def build(n_features: int, n_tasks: int, network: NetworkSettings) -> GATE:
        embedding = FeatureMLP(n_features, network.embedding_hidden, network.d, network.dropout)
        return VariantGATE(embedding, n_tasks, network.d, variant)

    training.build_gate = build  # type: ignore[attr-defined]  # a GATE with other maps has no name of its own
    trained = training.train(data, method_of(lambda_, variant), replace(SETTINGS, epochs=epochs), seed=seed)
    result: dict[str, Any] = {"seconds": round(trained.seconds, 1)}
    for name, rows in (("selection", data.split.selection), ("test", data.split.test)):
        x, labels = data.some(rows)
        direct, paths = predict(trained.model, x), transferred(trained.model, x)
        n_tasks = direct.shape[1]
        others = (paths.sum(2) - np.diagonal(paths, axis1=1, axis2=2)) / (n_tasks - 1)
        ways = {
            "direct": direct,
            "paths": others,
            "mixed": (1 - MIXED) * direct + MIXED * others,
            "own": np.diagonal(paths, axis1=1, axis2=2),
        }
        result[name] = {way: rmse(np.asarray(values), labels).round(5).tolist() for way, values in ways.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--at-least", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=SETTINGS.epochs)
    parser.add_argument("--lambdas", default="1,budget", help="1, 0 or budget, comma-separated")
    parser.add_argument("--variants", default=",".join(VARIANTS).replace(", ", "; "), help="names, comma-separated")
    parser.add_argument("--out", type=Path, default=Path("runs/transfer_paths.jsonl"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    names = [name.replace("; ", ", ") for name in args.variants.split(",")]
    table = load_chemicals(args.tasks.split(",")).with_at_least(args.at_least)
    jobs = [
        (name, lambda_, seed) for lambda_ in args.lambdas.split(",") for seed in range(args.seeds) for name in names
    ]
    datasets: dict[int, PreparedData] = {}
    base = {"tasks": args.tasks, "at_least": args.at_least, "epochs": args.epochs}
    for name, lambda_, seed in jobs:
        key = {**base, "variant": name, "lambda": lambda_, "seed": seed}
        if any(all(line[k] == v for k, v in key.items()) for line in lines):
            continue
        if seed not in datasets:
            datasets[seed] = prepare(table, seed=seed)
        found = key | run(datasets[seed], VARIANTS[name], lambda_, seed, args.epochs)
        lines.append(found)
        with args.out.open("a") as file:
            file.write(json.dumps(found) + "\n")
        means = {way: round(float(np.mean(values)), 4) for way, values in found["selection"].items()}
        print(name, lambda_, seed, found["seconds"], "s; selection", means, flush=True)
    summary = []
    for lambda_ in args.lambdas.split(","):
        for name in names:
            rows = [line for line in lines if all(line[k] == v for k, v in base.items())]
            rows = [line for line in rows if (line["variant"], line["lambda"]) == (name, lambda_)][: args.seeds]
            means = {
                f"{part} {way}": round(float(np.mean([row[part][way] for row in rows])), 4)
                for part in ("selection", "test")
                for way in ("direct", "paths", "mixed", "own")
            }
            summary.append({"variant": name, "lambda": lambda_, "seeds": len(rows), **means})
            print(f"{name:22} λ={lambda_:7} {means}")
    command = shlex.join(["python", "benchmarks/transfer_paths.py", *sys.argv[1:]])
    facts = {"command": command, "benchmark": "transfer_paths", **base, "molecules": len(table.smiles)}
    print(json.dumps(facts | {"rows": summary}))


if __name__ == "__main__":
    main()
