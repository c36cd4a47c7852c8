"""Learners of λ beside those of `gate_model.training.methods`: rivals of the budget."""

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
"""Ten products with the Hessian each."""

LITERAL_SUM = constant("lambda=1-sum", "", 1.0, LITERAL)
"""GATE of the paper: mapping losses summed over the sources as printed."""
DIRECT_SUM = replace(LEARNED["direct"], name="direct-sum", losses=replace(LITERAL, val=PathLoss(mapping="sum")))
"""Algorithm 3 with the sum as printed: GATE* of the paper."""
FREE = Method("free", "", Ratios(Positive(), 1.0), AVERAGED, Learning(OneStep(), outer_lr=0.1))
"""The one-step hypergradient on λ > 0 without a budget, from λ = 1."""
AUTO_LAMBDA = Method(
    "auto-lambda",
    "",
    Ratios(Box(0.0, float("inf")), 0.1),
    AVERAGED,
    Learning(AutoLambda(), outer_lr=0.02, outer_every=8, warm_up=0.0),
)
"""Auto-λ: its finite difference, from its λ = 0.1; in float32 only."""


def implicit(name: str) -> Method:
    """The budget under an implicit hypergradient: `name` is a key of `IMPLICIT`."""
    estimator: Hypergradient = IMPLICIT[name]
    return replace(LEARNED["budget"], name=name, learning=Learning(estimator, outer_lr=0.2))
