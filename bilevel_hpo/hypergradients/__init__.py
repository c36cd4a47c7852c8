"""Estimators of dL_val/dλ, one per file, with one interface."""

from bilevel_hpo.hypergradients._base import Hypergradient
from bilevel_hpo.hypergradients._citations import bibliography
from bilevel_hpo.hypergradients._conjugate_gradient import ConjugateGradient, conjugate_gradient
from bilevel_hpo.hypergradients._cross import Cross
from bilevel_hpo.hypergradients._direct import Direct
from bilevel_hpo.hypergradients._finite_difference import FiniteDifference
from bilevel_hpo.hypergradients._inner_step import InnerStep, upcoming_step
from bilevel_hpo.hypergradients._neumann import Neumann
from bilevel_hpo.hypergradients._nystrom import Nystrom
from bilevel_hpo.hypergradients._of_one_step import OfOneStep
from bilevel_hpo.hypergradients._one_step import OneStep
from bilevel_hpo.hypergradients._random import RandomState
from bilevel_hpo.hypergradients._unrolled import Unrolled

__all__ = [
    "ConjugateGradient",
    "Cross",
    "Direct",
    "FiniteDifference",
    "Hypergradient",
    "InnerStep",
    "Neumann",
    "Nystrom",
    "OfOneStep",
    "OneStep",
    "RandomState",
    "Unrolled",
    "bibliography",
    "conjugate_gradient",
    "upcoming_step",
]
