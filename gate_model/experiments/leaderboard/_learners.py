"""Further methods that learn λ, to compare with those of `gate_model.training.methods`."""

from dataclasses import replace

from bilevel_hpo import Box, ConjugateGradient, Hypergradient, Neumann, Nystrom, OneStep, Positive
from gate_model.model.losses import PathLoss
from gate_model.training.methods import AVERAGED, LEARNED, LITERAL, Learning, Method, Ratios, constant
from gate_model.training.weighting import AutoLambda

__all__ = ["AUTO_LAMBDA", "DIRECT_SUM", "FREE", "IMPLICIT", "LITERAL_SUM", "implicit"]

IMPLICIT = {
    "neumann": Neumann(terms=10),
    "conjugate-gradient": ConjugateGradient(10, damping=0.01),
    "nystrom": Nystrom(rank=10, damping=0.01),
}
"""Estimators of the implicit hypergradient; each uses ten products with the Hessian."""

LITERAL_SUM = constant("lambda=1-sum", "", 1.0, LITERAL)
"""GATE of the paper: λ = 1, and mapping losses summed over the sources as printed."""
DIRECT_SUM = replace(LEARNED["direct"], name="direct-sum", losses=replace(LITERAL, val=PathLoss(mapping="sum")))
"""GATE* of the paper: Algorithm 3, and mapping losses summed over the sources as printed."""
FREE = Method("free", "", Ratios(Positive(), 1.0), AVERAGED, Learning(OneStep(), outer_lr=0.1))
"""The one-step hypergradient on λ > 0 without a budget; λ starts at 1."""
AUTO_LAMBDA = Method(
    "auto-lambda",
    "",
    Ratios(Box(0.0, float("inf")), 0.1),
    AVERAGED,
    Learning(AutoLambda(), outer_lr=0.02, outer_every=8, warm_up=0.0),
)
"""Auto-λ: its finite difference, and its start λ = 0.1. It must be trained in float32."""


def implicit(name: str) -> Method:
    """Return the method that learns λ on a budget with an implicit hypergradient; `name` is a key of `IMPLICIT`."""
    estimator: Hypergradient = IMPLICIT[name]
    return replace(LEARNED["budget"], name=name, learning=Learning(estimator, outer_lr=0.2))
