"""GATE: every task has its own manifold, and maps connect it with one shared, locally flat manifold M."""

from typing import Any

from torch import Tensor, nn

from gate_model.model.modules import StackedMLP, StackedResidual

__all__ = ["GATE"]


class GATE(nn.Module):
    """A shared embedding, and for each task t an encoder, a map φ_t to M, its learned inverse ψ_t and a head h_t.

    Shapes: B molecules and T tasks; z has width d, the task manifolds and M have width k.

    Args:
        embedding: any module that maps a batch's `x` to z `[B, d]`.
        n_tasks: T.
        d: width of z, the output of the embedding.
        k: width of every task manifold and of M.
        hidden: hidden width of the encoders.

    The paper prints no layer sizes; all widths are our own choice. So is the form φ_t(x) = x + MLP(x), and the same for
    ψ_t, which makes both the identity at the start: without it the path through M loses much accuracy (docs/gate.md).
    """

    def __init__(self, embedding: nn.Module, n_tasks: int, d: int, k: int = 64, hidden: int = 64) -> None:
        super().__init__()
        self.embedding = embedding
        self.encoder = StackedMLP(n_tasks, (d, hidden, k))
        self.phi = StackedResidual(n_tasks, k)
        self.psi = StackedResidual(n_tasks, k)
        self.head = StackedMLP(n_tasks, (k, k, 1))
        self.n_tasks, self.d = n_tasks, d

    def embed(self, x: Any) -> Tensor:
        """Return z = embedding(x), `[B, d]`.

        Raises:
            ValueError: the embedding returns another shape.
        """
        z: Tensor = self.embedding(x)
        if z.ndim != 2 or z.shape[1] != self.d:
            raise ValueError(f"the embedding returned shape {tuple(z.shape)}; it must be [B, {self.d}]")
        return z

    def encode(self, z: Tensor) -> Tensor:
        """Return z_t = encoder_t(z), Eq. 1 and 4: `[B, d]` to `[T, B, k]`."""
        z_t: Tensor = self.encoder(z)
        return z_t

    def to_manifold(self, z_t: Tensor) -> Tensor:
        """Return m_t = φ_t(z_t), Eq. 5: `[T, B, k]` on the task manifolds to `[T, B, k]` on M."""
        m: Tensor = self.phi(z_t)
        return m

    def from_manifold(self, m: Tensor) -> Tensor:
        """Return ψ_t(m_t), Eq. 6: `[T, B, k]` on M back to `[T, B, k]` on the task manifolds."""
        z_t: Tensor = self.psi(m)
        return z_t

    def regress(self, z_t: Tensor) -> Tensor:
        """Return ŷ_t = h_t(z_t), Eq. 2 and 7: `[T, B, k]` to `[T, B]`."""
        y: Tensor = self.head(z_t)
        return y.squeeze(-1)

    def forward(self, x: Any) -> Tensor:
        """Return the predictions on the direct paths, h_t(encoder_t(embedding(x))): `[B, T]`, standardised units."""
        return self.regress(self.encode(self.embed(x))).T
