"""The implicit hypergradient by a Neumann series."""

import torch
from torch import Tensor

from bilevel_hpo.hypergradients._citations import LORRAINE2020
from bilevel_hpo.hypergradients._implicit import Implicit, MatVec

__all__ = ["Neumann"]


class Neumann(Implicit):
    """The implicit hypergradient with H⁻¹ v ≈ α Σ_{j<J} (I − αH)^j v.

    Source: Lorraine, Vicol, Duvenaud (2020), Alg. 3. J terms of the series are J steps of gradient descent with step
    size α, unrolled at the optimum: earlier steps are left out, so the error falls as (1 − α μ)^J in the
    direction of curvature μ.

    Cost: about 2 + J plain steps; J + 10 without α. Memory: about that of two plain steps, whatever J.

    It is accurate only near an optimum of the inner problem: do not use it early in training, or with few labels and a
    large model, where H has negative directions and the terms grow; use `OneStep` with a `Budget` there. On an
    ill-conditioned H `ConjugateGradient` is more accurate with fewer products.

    Args:
        terms: J, the number of terms.
        step_size: α, below 2 / (largest curvature); by default 1 over its estimate by ten power iterations.
    """

    references = (LORRAINE2020,)

    def __init__(self, terms: int = 20, step_size: float | None = None) -> None:
        if terms < 1:
            raise ValueError(f"Neumann needs terms >= 1; got {terms}")
        if step_size is not None and not step_size > 0:
            raise ValueError(f"Neumann needs step_size > 0; got {step_size}")
        self.terms, self.step_size = terms, step_size

    def solve(self, product: MatVec, v: Tensor) -> Tensor:
        """Sums the series term by term."""
        alpha = 1 / _largest_curvature(product, v) if self.step_size is None else self.step_size
        term, total = v, v
        for _ in range(self.terms - 1):
            term = term - alpha * product(term)
            total = total + term
        return alpha * total

    def __repr__(self) -> str:
        return f"Neumann(terms={self.terms}{'' if self.step_size is None else f', step_size={self.step_size:g}'})"


def _largest_curvature(product: MatVec, v: Tensor, iterations: int = 10) -> Tensor:
    """Returns a lower estimate of |largest eigenvalue| of H, by power iteration from a fixed start."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(v), generator=generator, dtype=v.dtype).to(v.device)
    size: Tensor = x.norm()
    for _ in range(iterations):
        x = product(x / size)
        size = x.norm()
        if not size > 0:  # H = 0 (or not finite): any step size will do
            return torch.ones_like(size)
    return size
