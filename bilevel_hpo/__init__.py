"""Learn the loss weights of a multi-task model by gradient, from validation loss, in one training run.

`plots`, `search`, `comparison` and `compare` are imported on first use, as `bilevel_hpo.plots` or by `from
bilevel_hpo import plots`, since gradients need neither plotly nor Optuna. They are not in `__all__`, because `from
bilevel_hpo import *` would import them at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bilevel_hpo.batches import MicroBatches, StepBatches
from bilevel_hpo.constraints import Box, Budget, Constraint, Positive
from bilevel_hpo.errors import DivergedError, NonFiniteError, NonFiniteWarning, UncertifiedWarning, UnsupportedError
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
from bilevel_hpo.learner import ActiveSet, BilevelLearner, Epoch, OuterStep, Weights
from bilevel_hpo.problem import BilevelProblem, Certificate, ClipNorm, ClipValue
from bilevel_hpo.weights import LossWeights, TransferRatios, WeightsDict

if TYPE_CHECKING:
    from bilevel_hpo import comparison as comparison
    from bilevel_hpo import plots as plots
    from bilevel_hpo import search as search
    from bilevel_hpo.comparison import compare as compare

__all__ = [
    "ActiveSet",
    "BilevelLearner",
    "BilevelProblem",
    "Box",
    "Budget",
    "Certificate",
    "ClipNorm",
    "ClipValue",
    "ConjugateGradient",
    "Constraint",
    "Direct",
    "DivergedError",
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
    "UncertifiedWarning",
    "Unrolled",
    "UnsupportedError",
    "Weights",
    "WeightsDict",
    "conjugate_gradient",
]

_LAZY = ("comparison", "plots", "search")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "compare":
        return importlib.import_module(f"{__name__}.comparison").compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, "compare"})
