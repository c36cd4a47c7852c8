"""Optuna over the same λ: grid, TPE, Gaussian process and random search, on any number of workers."""

from bilevel_hpo.search import asking
from bilevel_hpo.search._asking import Asking
from bilevel_hpo.search._point import Objective, Point, PopulationObjective
from bilevel_hpo.search._records import best, epochs_used, is_ours_to_finish, record, seconds_of, trials, warm_start
from bilevel_hpo.search._reports import Reports
from bilevel_hpo.search._searches import gp, grid, random, tpe
from bilevel_hpo.search._space import Axis, Space, space
from bilevel_hpo.search._storage import without_password
from bilevel_hpo.search._trial import Asked, Evaluated
from bilevel_hpo.search.hypergradient_sampler import HypergradientSampler

__all__ = [
    "Asked",
    "Asking",
    "Axis",
    "Evaluated",
    "HypergradientSampler",
    "Objective",
    "Point",
    "PopulationObjective",
    "Reports",
    "Space",
    "asking",
    "best",
    "epochs_used",
    "gp",
    "grid",
    "is_ours_to_finish",
    "random",
    "record",
    "seconds_of",
    "space",
    "tpe",
    "trials",
    "warm_start",
    "without_password",
]
