"""How much faster is a training step of stacked GATE than the double loop over pairs of tasks?

Both do the same maths on the same parameters: forward, backward and one AdamW step, in one process, in turn. The
loop is the paper's Algorithm 2 with one module per task: embedding and encoders once (lines 5 and 6), then for
every pair (t, s) the path h_t(ψ_t(φ_s(z_s))) on the molecules labelled for t and the two geometric losses. A second
loop, kinder than what is printed, applies φ_s once per task instead of once per pair.

The last line is JSON; times are medians in seconds.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gate_model.data.batches import Batch
from gate_model.embeddings import FeatureMLP
from gate_model.losses import TrainLoss
from gate_model.model import GATE
from gate_model.modules import StackedMLP

FEATURES, D, K, HIDDEN = 512, 128, 64, 64


class TaskModules(nn.Module):
    """The same GATE with one module per task; starts with the parameters of a stacked one."""

    def __init__(self, gate: GATE) -> None:
        super().__init__()
        self.embedding = copy.deepcopy(gate.embedding)
        self.encoder, self.phi = _unstack(gate.encoder), _unstack(gate.phi)
        self.psi, self.head = _unstack(gate.psi), _unstack(gate.head)


def _unstack(stacked: StackedMLP) -> nn.ModuleList:
    networks = nn.ModuleList()
    for t in range(stacked.affine()[0][0].shape[0]):
        layers: list[nn.Module] = []
        for weight, bias in stacked.affine():
            linear = nn.Linear(*weight.shape[1:])
            with torch.no_grad():
                linear.weight.copy_(weight[t].T)
                linear.bias.copy_(bias[t, 0])
            layers += [linear, nn.SiLU()]
        networks.append(nn.Sequential(*layers[:-1]))
    return networks


def loop_loss(model: TaskModules, weights: Tensor, batch: Batch, loss: TrainLoss, phi_once: bool) -> Tensor:
    """l_tot by a double loop over targets and sources (Algorithm 2, lines 5 to 11)."""
    n_tasks = len(model.encoder)
    share = 1 / (n_tasks - 1)
    z = model.embedding(batch.x)
    z_p = z + loss.epsilon * torch.randn_like(z)
    z_t = [encoder(z) for encoder in model.encoder]
    m = [phi(v) for phi, v in zip(model.phi, z_t, strict=True)]
    moved = [(m[t] - model.phi[t](model.encoder[t](z_p))).norm(dim=-1) for t in range(n_tasks)]
    total = z.new_zeros(())
    for t in range(n_tasks):
        rows = batch.mask[:, t].nonzero().squeeze(1)
        y = batch.y[rows, t].unsqueeze(1)
        total = total + weights[t, t] * mse_loss(model.head[t](z_t[t][rows]), y)
        total = total + loss.alpha * mse_loss(model.psi[t](m[t]), z_t[t])
        for s in range(n_tasks):
            if s == t:
                continue
            m_s = m[s][rows] if phi_once else model.phi[s](z_t[s][rows])
            total = total + share * weights[t, s] * mse_loss(model.head[t](model.psi[t](m_s)), y)
            total = total + loss.beta * share * mse_loss(m[t], m[s])
            total = total + loss.delta * share * mse_loss(moved[t], moved[s])
    return total


def step(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> float:
    """One training step; the loss before it."""
    torch.manual_seed(0)
    optimizer.zero_grad()
    value = loss()
    value.backward()
    optimizer.step()
    return value.item()


def needed_flops(tasks: int, molecules: int, labels: int) -> float:
    """Floating point operations of the matrix products of one stacked step (backward = twice forward)."""
    moved = D * HIDDEN + HIDDEN * K + K * K  # φ∘encoder of z^p, the two layers that meet multiplied into one
    per_point = moved + (moved + K * K) + 2 * K * K + K * K + K  # of z with z_t; ψ for l_ae, h for l_reg
    per_path = 2 * K * K + K  # h∘ψ with the two layers that meet multiplied into one
    embedding = molecules * (FEATURES * 256 + 256 * D)
    return 3 * 2 * (tasks * molecules * per_point + labels * (tasks - 1) * per_path + embedding)


def matrix_rate(rows: int) -> float:
    """Measured float32 rate in flop/s of `[rows, K] @ [K, K]` out of the cache, the product that GATE consists of."""
    a, b = torch.randn(rows, K), torch.randn(K, K)
    out = torch.empty(rows, K)
    times = []
    for _ in range(200):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        times.append(time.perf_counter() - start)
    return 2 * rows * K * K / statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=40, help="T (default 40)")
    parser.add_argument("--batch", type=int, default=512, help="molecules per batch (default 512)")
    parser.add_argument("--density", type=float, default=0.2, help="share of labels present (default 0.2)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, after one to warm up (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    gate = GATE(FeatureMLP(FEATURES, d=D, dropout=0.0), args.tasks, d=D, k=K, hidden=HIDDEN)
    mask = torch.rand(args.batch, args.tasks) < args.density
    mask[0] = True  # the loop has no case for a task without labels
    y = torch.where(mask, torch.randn(args.batch, args.tasks), 0)
    batch = Batch(torch.randn(args.batch, FEATURES), y, mask)
    weights = torch.rand(args.tasks, args.tasks) + 0.1
    loss = TrainLoss()
    printed, kinder = TaskModules(gate), TaskModules(gate)
    losses: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {
        "stacked": (gate, lambda: loss(gate, weights, batch)),
        "loop": (printed, lambda: loop_loss(printed, weights, batch, loss, phi_once=False)),
        "loop_phi_once": (kinder, lambda: loop_loss(kinder, weights, batch, loss, phi_once=True)),
    }
    optimizers = {name: torch.optim.AdamW(model.parameters(), lr=1e-3) for name, (model, _) in losses.items()}
    times: dict[str, list[float]] = {name: [] for name in losses}
    for repeat in range(args.repeats + 1):
        values = {}
        for name, (_, value) in losses.items():
            for _ in range(10 if name == "stacked" and repeat else 1):
                pass
            start = time.perf_counter()
            values[name] = step(optimizers[name], value)
            if repeat:
                times[name].append(time.perf_counter() - start)
        print(repeat, values, {n: round(t[-1], 4) for n, t in times.items() if t})


if __name__ == "__main__":
    main()
