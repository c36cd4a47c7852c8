"""Optuna over the same λ: grid, TPE, Gaussian process and random search, shared by any number of processes."""

from bilevel_hpo.search._grid import grid
from bilevel_hpo.search._point import Objective, Point, PopulationObjective
from bilevel_hpo.search._records import best, epochs_used, is_ours_to_finish, record, seconds_of, trials, warm_start
from bilevel_hpo.search._samplers import gp, random, tpe
from bilevel_hpo.search._space import Axis, Space, space
from bilevel_hpo.search._storage import without_password
from bilevel_hpo.search.hypergradient_sampler import HypergradientSampler

__all__ = [
    "Axis",
    "HypergradientSampler",
    "Objective",
    "Point",
    "PopulationObjective",
    "Space",
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
