"""Learn the loss weights of a multi-task model by gradient, from validation loss, in one training run."""

from bilevel_hpo import plots, search
from bilevel_hpo.constraints import Box, Budget, Constraint, Positive
from bilevel_hpo.errors import UnsupportedError
from bilevel_hpo.hypergradients import Direct, Hypergradient, OneStep, StepBatches, Unrolled
from bilevel_hpo.learner import BilevelLearner, Epoch
from bilevel_hpo.weights import LossWeights, TransferRatios

__all__ = [
    "BilevelLearner",
    "Box",
    "Budget",
    "Constraint",
    "Direct",
    "Epoch",
    "Hypergradient",
    "LossWeights",
    "OneStep",
    "Positive",
    "StepBatches",
    "TransferRatios",
    "Unrolled",
    "UnsupportedError",
    "plots",
    "search",
]
