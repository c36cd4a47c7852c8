"""Estimators of dL_val/dλ, one a file, all of one shape."""

from bilevel_hpo.hypergradients._base import Hypergradient, StepBatches
from bilevel_hpo.hypergradients._direct import Direct
from bilevel_hpo.hypergradients._one_step import OneStep
from bilevel_hpo.hypergradients._unrolled import Unrolled

__all__ = ["Direct", "Hypergradient", "OneStep", "StepBatches", "Unrolled"]
