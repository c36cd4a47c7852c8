"""Learners of λ beside those of `gate_model.training.methods`: rivals of the budget."""

from collections.abc import Sequence
from dataclasses import dataclass

from bilevel_hpo import Box, ConjugateGradient, Hypergradient, Neumann, Nystrom, Positive, TransferRatios
from gate_model.model.losses import PathLoss, TrainLoss
from gate_model.training.methods import Constant, Learned
from gate_model.training.weighting import AutoLambda

__all__ = ["IMPLICIT", "AutoLambdaLearner", "DirectSum", "FreeLearner", "ImplicitLearner", "LiteralSum"]

IMPLICIT = {
    "neumann": Neumann(terms=10),
    "conjugate-gradient": ConjugateGradient(10, damping=0.01),
    "nystrom": Nystrom(rank=10, damping=0.01),
}


@dataclass(frozen=True)
class LiteralSum(Constant):
    """Mapping losses summed over the sources as printed, not averaged; the geometric terms as everywhere else."""

    def train_loss(self) -> TrainLoss:
        """c = 1."""
        return TrainLoss(mapping="sum", geometry="mean")


@dataclass(frozen=True)
class DirectSum(Learned):
    """Algorithm 3 with the sum as printed: GATE* of the paper. The geometric terms are as everywhere else."""

    def train_loss(self) -> TrainLoss:
        """c = 1."""
        return TrainLoss(mapping="sum", geometry="mean")

    def val_loss(self) -> PathLoss:
        """c = 1."""
        return PathLoss(mapping="sum")


@dataclass(frozen=True)
class FreeLearner(Learned):
    """The one-step hypergradient on λ > 0 without a budget, from λ = 1."""

    def ratios(self, tasks: Sequence[str]) -> TransferRatios:
        """Direct paths at 1."""
        return TransferRatios(tasks, init=1.0, constraint=Positive())

    def train_loss(self) -> TrainLoss:
        """As for constant λ."""
        return TrainLoss(mapping="mean")


@dataclass(frozen=True)
class AutoLambdaLearner(FreeLearner):
    """Auto-λ: its finite difference, from its λ = 0.1."""

    def ratios(self, tasks: Sequence[str]) -> TransferRatios:
        """Direct paths at 1."""
        return TransferRatios(tasks, init=0.1, constraint=Box(0.0, float("inf")))

    def hypergradient(self) -> Hypergradient:
        """In float32 only."""
        return AutoLambda()


@dataclass(frozen=True)
class ImplicitLearner(Learned):
    """The budget under an implicit hypergradient: `name` is a key of `IMPLICIT`."""

    def hypergradient(self) -> Hypergradient:
        """Ten products with the Hessian each."""
        return IMPLICIT[self.name]
