"""The losses of GATE (Eq. 3 and 8-12), computed without a loop over pairs of tasks.

Shapes: B molecules, T tasks, width k on every manifold. W[t, s] is the weight of the path from source s to target t,
and W[t, t] the weight of the direct path of t. Every term is a mean over the molecules that carry the label it needs; a
task without a label in the batch contributes exactly 0.
"""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gate_model.data.batches import Batch
from gate_model.model.gate import GATE
from gate_model.model.mapping import logarithm, mapping_losses, weighted_mapping

__all__ = [
    "DirectPathLoss",
    "PathLoss",
    "TrainLoss",
    "autoencoder",
    "consistency",
    "direct_losses",
    "distance",
    "path_matrix",
]

Pairs = Literal["mean", "sum"]


def direct_losses(model: GATE, batch: Batch) -> Tensor:
    """Return l_reg[t] = MSE(y_t, h_t(z_t)), Eq. 3: `[T]`. The cost grows in proportion to T."""
    return _regression(model, model.encode(model.embed(batch.x)), batch)


def path_matrix(model: GATE, batch: Batch) -> Tensor:
    """Return P `[T, T]`: P[t, t] = l_reg[t] (Eq. 3), and P[t, s] = l_map[t, s] without its ratio λ (Eq. 8).

    Row t uses only the molecules that carry a label of the target t; the label of the source is not needed.
    """
    z_t = model.encode(model.embed(batch.x))
    return torch.diag_embed(_regression(model, z_t, batch)) + mapping_losses(model, model.to_manifold(z_t), batch)


def autoencoder(model: GATE, z_t: Tensor, m: Tensor) -> Tensor:
    """Return Σ_t l_ae[t] = Σ_t MSE(z_t, ψ_t(φ_t(z_t))), Eq. 9, a scalar.

    Args:
        model: the network.
        z_t: `[T, B, k]` on the task manifolds.
        m: φ_t(z_t) `[T, B, k]`.
    """
    return model.n_tasks * mse_loss(model.from_manifold(m), z_t)


def consistency(m: Tensor) -> Tensor:
    """Return l_cons = Σ_{t≠s} MSE(m_t, m_s) over ordered pairs, Eq. 10, a scalar, for m `[T, B, k]`.

    It is computed as 2T Σ_t MSE(m_t, m̄), where m̄ is the mean over the tasks; the cost is O(T).
    """
    return _pair_sum(m)


def distance(model: GATE, z: Tensor, m: Tensor, perturbations: int = 1, epsilon: float = 0.05) -> Tensor:
    """Return l_dis = 1/M Σ_p Σ_{t≠s} MSE(s_t^p, s_s^p) over ordered pairs, Eq. 11, a scalar.

    s_t^p = ‖m_t − φ_t(encoder_t(z^p))‖ is the displacement on M when z moves to z^p = z + ε·n. The noise n is standard
    normal: torch's global generator draws one `[B, d]` tensor for each of the M perturbations in turn.

    Args:
        model: the network.
        z: embedding `[B, d]`.
        m: φ_t(encoder_t(z)) `[T, B, k]`.
        perturbations: M.
        epsilon: ε, size of the perturbation in units of z.
    """
    total = z.new_zeros(())
    for _ in range(perturbations):
        z_p = z + epsilon * torch.randn(z.shape, dtype=z.dtype, device=z.device)
        # vector_norm has gradient 0 at 0, where √ has none. Saturated units do make displacements of 0.
        total = total + _pair_sum(torch.linalg.vector_norm(m - model.to_manifold(model.encode(z_p)), dim=-1))
    return total / perturbations


@dataclass(frozen=True)
class TrainLoss:
    """The training loss l_tot of Eq. 12, `(model, weights, batch)` ↦ scalar, for weights W `[T, T]`.

    l_tot = Σ_t W[t, t] l_reg[t] + c Σ_{t≠s} W[t, s] l_map[t, s] + α Σ_t l_ae[t] + β c' l_cons + δ c' l_dis.

    Args:
        mapping: "mean" sets c = 1/(T−1): the mapping losses of a target are averaged over its sources. "sum" sets
            c = 1, as printed in the paper. Use "sum" with weights on a budget, whose sum per target is fixed already.
        alpha: α, weight of the autoencoder term.
        beta: β, weight of the consistency term.
        delta: δ, weight of the distance term.
        perturbations: M, number of perturbed points, at least 1.
        epsilon: ε, size of the perturbation in units of z, above 0.
        geometry: "mean" or "sum", the same choice for c', the factor of consistency and distance. None: the value of
            `mapping`.
        geometry_share: share of the batch on which autoencoder, consistency and distance are evaluated, above 0 and at
            most 1: its first molecules, at least one. Batches are shuffled, so the expected value stays the same and
            only its noise grows. These terms are half of the work of a step.
        relative: take log(l + 10⁻³) of every l_reg[t] and l_map[t, s]. Then the relative change of a loss counts, not
            its size, so that tasks that are hard to fit do not dominate the others. The gradient is that of weights
            W / (l + 10⁻³), and λ weighs the logarithms. The sum of logarithms over the tasks is the geometric loss
            strategy of Chennupati et al. (2019). False: the losses as the paper prints them.

    The paper prints none of α, β, δ, M and ε: the defaults are our own choice. A term whose weight is 0 is not
    computed.

    Raises:
        ValueError: an argument is outside its range.
    """

    mapping: Pairs = "mean"
    alpha: float = 1.0
    beta: float = 0.03
    delta: float = 0.03
    perturbations: int = 1
    epsilon: float = 0.05
    geometry: Pairs | None = None
    geometry_share: float = 1.0
    relative: bool = False

    def __post_init__(self) -> None:
        _refuse_unknown("mapping", self.mapping)
        _refuse_unknown("geometry", self.geometry or self.mapping)
        if self.perturbations < 1:
            raise ValueError(f"perturbations must be at least 1; got {self.perturbations}")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be positive; got {self.epsilon}")
        if not 0 < self.geometry_share <= 1:
            raise ValueError(f"geometry_share must be above 0 and at most 1; got {self.geometry_share}")

    def __call__(self, model: nn.Module, weights: Tensor, batch: Batch, pairs: Tensor | None = None) -> Tensor:
        """Return L_train(θ, W), a scalar; with `pairs` (bool `[T, T]`) only the mapping losses of these pairs."""
        gate = cast(GATE, model)
        z = gate.embed(batch.x)
        z_t = gate.encode(z)
        m = gate.to_manifold(z_t)
        total = self._paths(gate, weights, z_t, m, batch, pairs)
        share = _share(self.geometry or self.mapping, gate.n_tasks)
        n = max(1, round(self.geometry_share * len(z)))
        z, z_t, m = z[:n], z_t[:, :n], m[:, :n]
        if self.alpha:
            total = total + self.alpha * autoencoder(gate, z_t, m)
        if self.beta:
            total = total + self.beta * share * consistency(m)
        if self.delta:
            total = total + self.delta * share * distance(gate, z, m, self.perturbations, self.epsilon)
        return total

    def lambda_terms(self, model: nn.Module, weights: Tensor, batch: Batch, pairs: Tensor | None = None) -> Tensor:
        """Return the terms of l_tot that contain W; the directional derivative of a hypergradient needs no others."""
        gate = cast(GATE, model)
        z_t = gate.encode(gate.embed(batch.x))
        return self._paths(gate, weights, z_t, gate.to_manifold(z_t), batch, pairs)

    def _paths(self, gate: GATE, weights: Tensor, z_t: Tensor, m: Tensor, batch: Batch, pairs: Tensor | None) -> Tensor:
        return _weighted_paths(gate, weights, z_t, m, batch, self.mapping, pairs, relative=self.relative)


@dataclass(frozen=True)
class DirectPathLoss:
    """The validation loss Σ_t l_reg[t], on the predictions that the model is judged by.

    Use it with every estimator of the true hypergradient.

    Args:
        relative: use Σ_t log(l_reg[t] + 10⁻³) instead. Set it to the same value as in `TrainLoss`.
    """

    relative: bool = False

    def __call__(self, model: nn.Module, weights: Tensor, batch: Batch) -> Tensor:
        """Return L_val(θ), a scalar that does not depend on `weights`."""
        losses = direct_losses(cast(GATE, model), batch)
        return (logarithm(losses) if self.relative else losses).sum()


@dataclass(frozen=True)
class PathLoss:
    """The validation loss of Algorithm 3 as printed: Σ_t W[t, t] P[t, t] + c Σ_{t≠s} W[t, s] P[t, s].

    Use it with the estimator `Direct` only, and `DirectPathLoss` with every other estimator. Its gradient in W at fixed
    θ is never negative. The gradient of logarithms could be, so this loss never takes logarithms, even if the
    `TrainLoss` does.

    Args:
        mapping: "mean" or "sum", the choice of c as in `TrainLoss`.

    Raises:
        ValueError: `mapping` is something else.
    """

    mapping: Pairs = "mean"

    def __post_init__(self) -> None:
        _refuse_unknown("mapping", self.mapping)

    def __call__(self, model: nn.Module, weights: Tensor, batch: Batch) -> Tensor:
        """Return L_val(θ, W), a scalar."""
        gate = cast(GATE, model)
        z_t = gate.encode(gate.embed(batch.x))
        return _weighted_paths(gate, weights, z_t, gate.to_manifold(z_t), batch, self.mapping)


def _weighted_paths(
    model: GATE,
    weights: Tensor,
    z_t: Tensor,
    m: Tensor,
    batch: Batch,
    mapping: Pairs,
    pairs: Tensor | None = None,
    *,
    relative: bool = False,
) -> Tensor:
    """Return Σ_t W[t, t] l_reg[t] + c Σ_{t≠s} W[t, s] l_map[t, s], or the same sums of logarithms."""
    n_tasks = model.n_tasks
    if weights.shape != (n_tasks, n_tasks):
        raise ValueError(f"weights have shape {tuple(weights.shape)}; they must have shape [{n_tasks}, {n_tasks}]")
    losses = _regression(model, z_t, batch)
    direct = weights.diagonal() @ (logarithm(losses) if relative else losses)
    mapped = weighted_mapping(model, weights, m, batch, pairs, relative=relative)
    return direct + _share(mapping, n_tasks) * mapped


def _regression(model: GATE, z_t: Tensor, batch: Batch) -> Tensor:
    """Return l_reg `[T]`."""
    if batch.y.shape[1] != model.n_tasks:
        raise ValueError(f"the batch has labels of {batch.y.shape[1]} tasks; the model has {model.n_tasks}")
    mask = batch.mask.T
    squared = torch.where(mask, model.regress(z_t) - batch.y.T, 0).square()
    return squared.sum(1) / mask.sum(1).clamp_min(1)


def _pair_sum(values: Tensor) -> Tensor:
    """Return Σ_{t≠s} MSE(v_t, v_s) over ordered pairs for v `[T, ...]`, computed as 2T Σ_t MSE(v_t, v̄)."""
    n_tasks = values.shape[0]
    return 2 * n_tasks * n_tasks * mse_loss(values, values.mean(0).expand_as(values))


def _share(pairs: Pairs, n_tasks: int) -> float:
    """Return the factor c: 1/(T−1) for the mean over the other tasks, 1 for the sum."""
    return 1 / max(n_tasks - 1, 1) if pairs == "mean" else 1.0


def _refuse_unknown(name: str, value: str) -> None:
    if value not in ("mean", "sum"):
        raise ValueError(f"{name}={value!r}: it must be 'mean' or 'sum'")
