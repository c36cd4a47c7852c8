"""The implicit hypergradient by a low-rank sketch of the Hessian."""

import torch
from torch import Tensor

from bilevel_hpo.hypergradients._citations import FRANGELLA2023, HATAYA2023
from bilevel_hpo.hypergradients._implicit import Implicit, MatVec

__all__ = ["Nystrom"]


class Nystrom(Implicit):
    """The implicit hypergradient with H replaced by its Nyström approximation of rank r, (F Fᵀ + ρI) q = v.

    Source: Hataya and Yamada (2023), who draw columns of H; here the sketch is Gaussian (Frangella, Tropp, Udell,
    2023), which is more accurate at the same cost. F comes from r products with H, the inverse from Woodbury's
    identity, so nothing is iterated and there is no step size to choose. Negative curvature, noise of an inner
    problem that has not converged, is left out.

    Cost: about 2 + r plain steps; memory: r copies of θ plus two plain steps. At r = P it is the exact
    solution with ρ.

    Prefer it to `ConjugateGradient` when few directions of H are large and the rest is flat, as in trained networks.
    Do not use it far from an optimum of the inner problem, or where r copies of θ do not fit: use `OneStep`.

    Args:
        rank: r; at most the number of parameters.
        damping: ρ, the curvature assumed in the directions left out. The solution there is v / ρ: a small value gives
            them a large weight.
        seed: the seed of the sketch.
    """

    references = (HATAYA2023, FRANGELLA2023)

    def __init__(self, rank: int = 20, damping: float = 0.01, seed: int = 0) -> None:
        if rank < 1:
            raise ValueError(f"Nystrom needs rank >= 1; got {rank}")
        if not damping > 0:
            raise ValueError(f"Nystrom needs damping > 0; got {damping}")
        self.rank, self.damping, self.seed = rank, damping, seed

    def solve(self, product: MatVec, v: Tensor) -> Tensor:
        """Returns (F Fᵀ + ρI)⁻¹ v."""
        generator = torch.Generator().manual_seed(self.seed)
        draw = torch.randn(len(v), min(self.rank, len(v)), generator=generator, dtype=v.dtype).to(v.device)
        omega, _ = torch.linalg.qr(draw)
        image = torch.stack([product(column) for column in omega.T], 1)  # H Ω
        small = omega.T @ image
        values, vectors = torch.linalg.eigh((small + small.T) / 2)
        kept = values > 10 * torch.finfo(v.dtype).eps * values.abs().max()
        f = image @ (vectors[:, kept] / values[kept].sqrt())
        inner = f.T @ f + self.damping * torch.eye(f.shape[1], dtype=v.dtype, device=v.device)
        solved: Tensor = torch.linalg.solve(inner, f.T @ v)
        q: Tensor = (v - f @ solved) / self.damping
        return q

    def __repr__(self) -> str:
        return f"Nystrom(rank={self.rank}, damping={self.damping:g}{f', seed={self.seed}' if self.seed else ''})"
