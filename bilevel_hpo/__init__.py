"""Learn the loss weights of a multi-task model by gradient, from validation loss, in one training run."""

from bilevel_hpo import plots, search
from bilevel_hpo.active import ActiveSet
from bilevel_hpo.batches import MicroBatches, StepBatches
from bilevel_hpo.certificate import Certificate
from bilevel_hpo.clipping import ClipNorm, ClipValue
from bilevel_hpo.constraints import Box, Budget, Constraint, Positive
from bilevel_hpo.errors import NonFiniteError, NonFiniteWarning, UncertifiedWarning, UnsupportedError
from bilevel_hpo.history import Epoch, OuterStep
from bilevel_hpo.hypergradients import (
    ConjugateGradient,
    Direct,
    FiniteDifference,
    Hypergradient,
    Neumann,
    Nystrom,
    OneStep,
    Unrolled,
    conjugate_gradient,
)
from bilevel_hpo.learner import BilevelLearner
from bilevel_hpo.weights import LossWeights, TransferRatios, WeightsDict

__all__ = [
    "ActiveSet",
    "BilevelLearner",
    "Box",
    "Budget",
    "Certificate",
    "ClipNorm",
    "ClipValue",
    "ConjugateGradient",
    "Constraint",
    "Direct",
    "Epoch",
    "FiniteDifference",
    "Hypergradient",
    "LossWeights",
    "MicroBatches",
    "Neumann",
    "NonFiniteError",
    "NonFiniteWarning",
    "Nystrom",
    "OneStep",
    "OuterStep",
    "Positive",
    "StepBatches",
    "TransferRatios",
    "Unrolled",
    "UncertifiedWarning",
    "UnsupportedError",
    "WeightsDict",
    "conjugate_gradient",
    "plots",
    "search",
]
