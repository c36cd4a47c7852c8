"""Optuna over the same λ: grid and TPE, resumable, with the learned λ beside the trials."""

from bilevel_hpo.search._study import grid, record, tpe
from bilevel_hpo.search.hypergradient_sampler import HypergradientSampler

__all__ = ["HypergradientSampler", "grid", "record", "tpe"]
