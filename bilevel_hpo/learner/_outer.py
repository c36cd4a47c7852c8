"""The step on λ, and what is said where there is none or it cannot be trusted."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from bilevel_hpo.learner._history import OuterStep
from bilevel_hpo.problem import Certificate, Structure

__all__ = ["descend", "not_certified", "not_finite"]


def descend(
    weights: Any, optimizer: torch.optim.Optimizer, structure: Structure, g: Tensor, active: Tensor | None
) -> None:
    """One step of `optimizer` on the parameters of `weights` along the hypergradient.

    Args:
        weights: the λ module.
        optimizer: the outer optimizer.
        structure: of λ.
        g: dL_val/dλ `[N]`; the chain rule of the module is applied here.
        active: True where λ `[N]` takes part; None for all.
    """
    optimizer.zero_grad()
    pairs = zip(structure.parts(weights()), structure.parts(structure.unflatten(g)), strict=True)
    learned = [(part, gi) for part, gi in pairs if part.requires_grad]
    torch.autograd.backward([part for part, _ in learned], [gi for _, gi in learned])
    resting: list[tuple[nn.Parameter, Tensor, Tensor]] = []
    if active is not None:
        raw = cast(nn.Module, weights).parameters()
        for p, mask in zip(raw, structure.parts(structure.unflatten(active)), strict=True):
            resting.append((p, ~mask, p.detach().clone()))
            if p.grad is not None:
                p.grad[~mask] = 0.0
    optimizer.step()
    with torch.no_grad():
        for p, mask, before in resting:  # Adam's momentum would move them still
            p.copy_(torch.where(mask, before, p))
    if hasattr(weights, "project_"):
        weights.project_()


def not_finite(row: OuterStep, place: str, g: Tensor) -> str:
    """What is said of a hypergradient that is left out."""
    where = f" ({place})" if place else ""
    return (
        f"the hypergradient of outer step {row.outer_step}{where} is not finite in {int((~g.isfinite()).sum())} of "
        f"{g.numel()} entries; L_train = {row.train_loss:.4g}, L_val = {row.val_loss:.4g}; λ stays as it is"
    )


def not_certified(certificate: Certificate) -> str:
    """What is said of a hypergradient that is used without a certificate."""
    why = f" ({certificate.reason})" if certificate.reason else ""
    return (
        f"the rounding in a hypergradient is about {certificate.error:.1e} of its size, and computing it in float64 did"
        f" not help{why}; it is used as it is. `learner.uncertified` counts such ones, `learner.history` shows them. A"
        " loss that draws random numbers outside of torch has this effect, too"
    )
