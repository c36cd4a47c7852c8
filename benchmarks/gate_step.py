"""How much faster is a training step of stacked GATE than the double loop over pairs of tasks?

Forward, backward and one AdamW step with the same maths on the same parameters, in one process, in turn; each timed
step follows untimed ones of its own kind. Two double loops with one module per task:

- `printed`: Algorithm 2 line by line. Embedding and encoders once (lines 5 and 6), then for every pair (t, s) its
  terms from z_t and z_s: l_reg, l_map, l_ae, l_cons, l_dis (lines 8 to 10). Only molecules labelled for t go through
  the mapping path. l_reg and l_ae, which the maths counts once per target, enter with 1/(T−1) from each pair.
- `hoisted`: the loop of a careful programmer. Whatever depends on one task only is computed once per task; the pair
  loop is left with ψ_t and h_t on m_s, and two MSEs.

- `top 8`: the stacked step with the 8 largest λ of each target, `ActivePairs(top_k=8)`; and the same at four times the
  number of tasks, per label.
- `top 8, quarter`: the same with the geometric terms on a quarter of the batch, `TrainLoss(geometry_share=0.25)`.

Labels are as dense as in the table of the `chemicals` library, 9 % on average: a few tasks with many, many with few.
The last line is JSON; times are medians in seconds, `ratio` is printed / stacked.
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
from gate_model.model.feature_mlp import FeatureMLP
from gate_model.model.gate import GATE
from gate_model.model.losses import TrainLoss
from gate_model.model.modules import StackedMLP
from gate_model.training.sparsity import ActivePairs

FEATURES, D, K, HIDDEN = 512, 128, 64, 64
COUNTS = """22792 12542 5791 4667 4068 4018 3750 3291 3076 3022 2902 2509 2499 2456 2443 2311 2201 1713 1645 1434 1097
959 793 752 741 737 724 686 467 262 246 193"""
SHARES = torch.tensor([int(count) for count in COUNTS.split()]) / 32736
"""Labels per molecule of 32 tasks of the `chemicals` library, in decreasing order."""


class TaskModules(nn.Module):
    """The same GATE with one module per task; starts with the parameters of a stacked one."""

    def __init__(self, gate: GATE) -> None:
        super().__init__()
        self.embedding = copy.deepcopy(gate.embedding)
        self.encoder, self.head = _unstack(gate.encoder), _unstack(gate.head)
        self.phi = nn.ModuleList(Residual(network) for network in _unstack(gate.phi))
        self.psi = nn.ModuleList(Residual(network) for network in _unstack(gate.psi))


class Residual(nn.Module):
    """x ↦ x + network(x)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        moved: Tensor = x + self.network(x)
        return moved


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


def printed_loss(model: TaskModules, weights: Tensor, batch: Batch, loss: TrainLoss) -> Tensor:
    """l_tot by Algorithm 2, lines 5 to 11."""
    n_tasks = len(model.encoder)
    share = 1 / (n_tasks - 1)
    z = model.embedding(batch.x)
    z_p = z + loss.epsilon * torch.randn_like(z)
    z_t = [encoder(z) for encoder in model.encoder]
    z_tp = [encoder(z_p) for encoder in model.encoder]
    rows = [batch.mask[:, t].nonzero().squeeze(1) for t in range(n_tasks)]
    total = z.new_zeros(())
    for t in range(n_tasks):
        y = batch.y[rows[t], t].unsqueeze(1)
        phi_t, psi_t, head_t = model.phi[t], model.psi[t], model.head[t]
        for s in range(n_tasks):
            if s == t:
                continue
            phi_s = model.phi[s]
            total = total + share * weights[t, t] * mse_loss(head_t(z_t[t][rows[t]]), y)
            total = total + share * weights[t, s] * mse_loss(head_t(psi_t(phi_s(z_t[s][rows[t]]))), y)
            m_t, m_s = phi_t(z_t[t]), phi_s(z_t[s])
            total = total + share * loss.alpha * mse_loss(psi_t(m_t), z_t[t])
            total = total + share * loss.beta * mse_loss(m_t, m_s)
            moved_t, moved_s = (m_t - phi_t(z_tp[t])).norm(dim=-1), (m_s - phi_s(z_tp[s])).norm(dim=-1)
            total = total + share * loss.delta * mse_loss(moved_t, moved_s)
    return total


def hoisted_loss(model: TaskModules, weights: Tensor, batch: Batch, loss: TrainLoss) -> Tensor:
    """l_tot with everything that depends on one task moved out of the pair loop."""
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
            total = total + share * weights[t, s] * mse_loss(model.head[t](model.psi[t](m[s][rows])), y)
            total = total + share * loss.beta * mse_loss(m[t], m[s])
            total = total + share * loss.delta * mse_loss(moved[t], moved[s])
    return total


def step(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> None:
    """One training step."""
    torch.manual_seed(0)
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()


def needed_flops(tasks: int, molecules: int, labels: int) -> float:
    """Floating point operations of the matrix products of one stacked step (backward = twice forward)."""
    placed = D * HIDDEN + HIDDEN * K + 2 * K * K  # φ∘encoder, of z and of z^p
    per_point = 2 * placed + 2 * K * K + K * K + K  # ψ for l_ae, h for l_reg
    per_path = 3 * K * K + K  # h∘ψ with the two layers that meet multiplied into one
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


def problem(tasks: int, molecules: int, density: float | None) -> tuple[GATE, Tensor, Batch]:
    """A network, W and a batch with the label density of the table, or `density` in every task."""
    torch.manual_seed(0)
    gate = GATE(FeatureMLP(FEATURES, d=D, dropout=0.0), tasks, d=D, k=K, hidden=HIDDEN)
    shares = SHARES[torch.arange(tasks) % len(SHARES)] if density is None else torch.full((tasks,), density)
    mask = torch.rand(molecules, tasks) < shares
    mask[0] = True  # the loop has no case for a task without labels
    y = torch.where(mask, torch.randn(molecules, tasks), 0)
    weights = (torch.rand(tasks, tasks) + 0.1).fill_diagonal_(1.0)
    return gate, weights, Batch(torch.randn(molecules, FEATURES), y, mask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=40, help="T (default 40)")
    parser.add_argument("--batch", type=int, default=512, help="molecules per batch (default 512)")
    parser.add_argument(
        "--density", type=float, help="share of labels present, alike in all tasks (default: the table's)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each kind (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    gate, weights, batch = problem(args.tasks, args.batch, args.density)
    wide, wide_weights, wide_batch = problem(4 * args.tasks, args.batch, args.density)
    top = ActivePairs(0.0, top_k=8)
    pairs = top.inner(weights.flatten(), 0).view_as(weights)
    wide_pairs = top.inner(wide_weights.flatten(), 0).view_as(wide_weights)
    loss, quarter = TrainLoss(), TrainLoss(geometry_share=0.25)
    by_name: dict[str, nn.Module] = {
        "stacked": gate,
        "printed": TaskModules(gate),
        "hoisted": TaskModules(gate),
        "top 8": copy.deepcopy(gate),
        "top 8, quarter": copy.deepcopy(gate),
        "top 8, four times the tasks": wide,
    }
    losses: dict[str, Callable[[], Tensor]] = {
        "stacked": lambda: loss(gate, weights, batch),
        "printed": lambda: printed_loss(by_name["printed"], weights, batch, loss),
        "hoisted": lambda: hoisted_loss(by_name["hoisted"], weights, batch, loss),
        "top 8": lambda: loss(by_name["top 8"], weights, batch, pairs),
        "top 8, quarter": lambda: quarter(by_name["top 8, quarter"], weights, batch, pairs),
        "top 8, four times the tasks": lambda: loss(wide, wide_weights, wide_batch, wide_pairs),
    }
    optimizers = {name: torch.optim.AdamW(model.parameters(), lr=1e-3) for name, model in by_name.items()}
    times: dict[str, list[float]] = {name: [] for name in losses}
    rates = []
    values = {}
    for name in ("stacked", "printed", "hoisted"):
        torch.manual_seed(0)
        values[name] = losses[name]().item()
    apart = max(abs(value / values["stacked"] - 1) for value in values.values())
    if apart > 1e-4:
        raise SystemExit(f"the losses differ by {apart:.1e}: {values}")
    for _ in range(args.repeats):
        rates.append(matrix_rate(args.batch))
        for name, value in losses.items():
            for _ in range(1 if name in ("printed", "hoisted") else 4):
                step(optimizers[name], value)
            start = time.perf_counter()
            step(optimizers[name], value)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    labels, wide_labels = int(batch.mask.sum()), int(wide_batch.mask.sum())
    limit = needed_flops(args.tasks, args.batch, labels) / statistics.median(rates)
    per_label = medians["top 8, four times the tasks"] / wide_labels / (medians["top 8"] / labels)
    for name, median in medians.items():
        spread = f"{min(times[name]):.3f} to {max(times[name]):.3f}"
        print(f"{name}: {median:.3f} s ({spread}), {median / medians['stacked']:.1f} times the stacked step")
    print(f"limit by the matrix rate of {statistics.median(rates) / 1e9:.0f} Gflop/s: {limit:.3f} s")
    print(f"time per label with 8 active sources, {4 * args.tasks} tasks over {args.tasks}: {per_label:.2f}")
    result = {
        "benchmark": "gate_step",
        "ratio": round(medians["printed"] / medians["stacked"], 2),
        "ratio_hoisted": round(medians["hoisted"] / medians["stacked"], 2),
        "top_8_over_full": round(medians["top 8"] / medians["stacked"], 3),
        "top_8_quarter_over_full": round(medians["top 8, quarter"] / medians["stacked"], 3),
        "per_label_at_four_times_the_tasks": round(per_label, 3),
        "seconds": {name: round(median, 4) for name, median in medians.items()},
        "matrix_gflops": round(statistics.median(rates) / 1e9, 1),
        "over_matrix_limit": round(medians["stacked"] / limit, 2),
        "loss_relative_difference": float(f"{apart:.1e}"),
        "tasks": args.tasks,
        "batch": args.batch,
        "density": round(float(batch.mask.float().mean()), 4),
        "repeats": args.repeats,
        "threads": args.threads,
        "torch": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
